"""Images of the emulator's registry, unpacked into folders."""

from __future__ import annotations

import gzip
import io
import json
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


def _unpack(layer: bytes, into: Path) -> None:
    data = gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # keeps links and modes; Debian 12's Python has no filters
        for member in archive:
            target = into / member.name.lstrip("/")
            # A link of a lower layer may lead out of the image's files.
            if not target.parent.resolve().is_relative_to(into.resolve()):
                raise NotFound(f"the image has a file outside of its own folder: {member.name}")
            if target.name.startswith(".wh."):  # a file of a lower layer that this one deletes
                gone = target.with_name(target.name.removeprefix(".wh."))
                shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink(missing_ok=True)
            elif not member.isdev():
                archive.extract(member, into, set_attrs=not member.issym())


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
