"""Images of the emulator's registry, unpacked into folders."""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import shutil
import struct
import tarfile
import threading
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

MANIFESTS = ", ".join((
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
))


class NotFound(Exception):
    """The image does not exist, or this machine cannot run it."""


@dataclass(frozen=True)
class Reference:
    """<account>.dkr.ecr.<region>.amazonaws.com/<repository>:<tag> or @<digest>."""

    repository: str
    tag_or_digest: str

    @classmethod
    def parse(cls, image: str) -> Reference | None:
        """None for an image of another registry."""
        host, _, rest = image.partition("/")
        if ".dkr.ecr." not in host:
            return None
        if "@" in rest:
            repository, _, digest = rest.partition("@")
            return cls(repository, digest)
        repository, _, tag = rest.partition(":")
        return cls(repository, tag or "latest")


@dataclass(frozen=True)
class Image:
    digest: str  # of the manifest for this machine's processor
    root: Path
    config: dict[str, Any]  # as in the OCI image specification: Entrypoint, Cmd, Env, WorkingDir


class Store:
    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder, self._lock = url, folder, threading.Lock()

    def resolve(self, ref: Reference) -> tuple[str, dict[str, Any]]:
        """The digest and the manifest for this machine's processor."""
        digest, manifest = self._manifest(ref.repository, ref.tag_or_digest)
        if "manifests" not in manifest:
            return digest, manifest
        platforms = [m for m in manifest["manifests"] if m.get("platform", {}).get("os") == "linux"]
        for child in platforms:
            if child["platform"].get("architecture") == ARCHITECTURE:
                return self._manifest(ref.repository, child["digest"])
        have = ", ".join(m["platform"].get("architecture", "?") for m in platforms) or "none"
        raise NotFound(f"CannotPullContainerError: image {ref.repository}:{ref.tag_or_digest} has no platform linux/{ARCHITECTURE}, it has {have}")

    def pull(self, ref: Reference) -> Image:
        digest, manifest = self.resolve(ref)
        config = json.loads(self._blob(ref.repository, manifest["config"]["digest"]))
        root = self._folder / digest.replace(":", "-")
        with self._lock:
            if not root.is_dir():
                part = root.with_name(f"{root.name}.{uuid.uuid4().hex[:6]}")
                part.mkdir(parents=True)
                for layer in manifest["layers"]:
                    _unpack(self._blob(ref.repository, layer["digest"]), part)
                part.rename(root)
        return Image(digest, root, config.get("config") or {})

    def _manifest(self, repository: str, ref: str) -> tuple[str, dict[str, Any]]:
        body, headers = self._get(f"/v2/{repository}/manifests/{ref}", MANIFESTS)
        return headers.get("Docker-Content-Digest") or ref, json.loads(body)

    def _blob(self, repository: str, digest: str) -> bytes:
        return self._get(f"/v2/{repository}/blobs/{digest}")[0]

    def _get(self, path: str, accept: str = "*/*") -> tuple[bytes, Any]:
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url + path, headers={"Accept": accept}), timeout=30) as answer:
                return answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            raise NotFound(f"CannotPullContainerError: {path}: {error.code} {error.reason}") from error


# https://github.com/opencontainers/image-spec/blob/main/layer.md#opaque-whiteout
OPAQUE = ".wh..wh..opq"


def _unpack(layer: bytes, into: Path) -> None:
    data = gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer
    written: set[Path] = set()  # by this layer
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # keeps links and modes; Debian 12's Python has no filters
        for member in archive:
            if (target := into / member.name.lstrip("/")) == into:
                continue
            # A link of a lower layer may lead out of the image's files.
            _check_inside(into, target.parent, member.name)
            if target.name == OPAQUE:  # hides all that lower layers have in this folder
                for hidden in target.parent.iterdir() if target.parent.is_dir() else ():
                    if hidden not in written:
                        _remove(hidden)
            elif target.name.startswith(".wh."):  # a file of a lower layer that this one deletes
                gone = target.with_name(target.name.removeprefix(".wh."))
                _check_inside(into, gone.parent, str(gone))
                _remove(gone)
            elif not member.isdev():
                # A file would be written through what stands in its place: a link, perhaps to a file of this machine.
                if not (member.isdir() and target.is_dir() and not target.is_symlink()):
                    _remove(target)
                if member.islnk():  # tarfile would take an absolute name for one of this machine
                    source = into / member.linkname.lstrip("/")
                    _check_inside(into, source.parent, member.linkname)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.link(source, target, follow_symlinks=False)
                else:
                    if member.isdir():
                        member.mode |= 0o700  # without root no file could be written there, nor removed
                    archive.extract(member, into, set_attrs=not member.issym(), numeric_owner=True)
                written.update((target, *target.parents))


def _check_inside(into: Path, folder: Path, name: str) -> None:
    if ".." in Path(name).parts or not folder.resolve().is_relative_to(into.resolve()):
        raise NotFound(f"the image has a file outside of its own folder: {name}")


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def interpreter(program: Path) -> str | None:
    """What the kernel needs beside the program itself: its dynamic loader or, of a script, the program after `#!`."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:2] == b"#!":
            file.seek(2)
            return file.readline().split()[0].decode()
        if head[:4] != b"\x7fELF" or head[4] != 2:
            return None  # the kernel will say what it thinks of it
        (table,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        for i in range(count):
            file.seek(table + i * size)
            entry = file.read(size)
            if struct.unpack_from("<I", entry)[0] == 3:  # PT_INTERP
                offset, length = struct.unpack_from("<Q", entry, 8)[0], struct.unpack_from("<Q", entry, 32)[0]
                file.seek(offset)
                return file.read(length).rstrip(b"\0").decode()
    return None
