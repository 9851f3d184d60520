"""Containers as processes: what ministack's ECS asks of the Docker SDK's client, and no more.

ministack has ECS's whole state machine (tasks, services, secrets, logs, roll-outs, the circuit breaker), and talks to a
container engine only through this client. Here a container is a process of this machine:

- an image of the emulator's registry is unpacked and its program is run: as root inside of the image's files (chroot),
  else in place, which a static program does not notice;
- `mysql:<version>`, of whatever registry, is this machine's shell and MariaDB's client;
- any other image fails as a wrong name does in AWS.

A process gets a loopback address of its own in BIND_ADDR, and must listen there: on all addresses it would take the port
from every other task. This project's placeholder finds it in SEED_BIND_ADDR.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import processes
from .images import Image, NotFound, Reference, Store, interpreter
from .settings import Settings

MYSQL = re.compile(r"(^|/)mysql:\d")

# Fargate's default, https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
STOP_TIMEOUT = 30

# How long a task that is stopped still takes requests that were under way to it: the load balancer has just been told.
DRAIN_SECONDS = 0.3


class Container:
    """One container. Its attributes and methods are those of docker.models.containers.Container that ministack uses."""

    def __init__(self, spec: Spec, folder: Path, process: subprocess.Popen[bytes], address: str) -> None:
        self.id, self.name, self.labels = uuid.uuid4().hex * 2, spec.name, spec.labels
        self.image, self.process, self.log = spec.image, process, folder / "log"
        self.stop_timeout, self.serves = spec.stop_timeout, spec.serves
        self.on_exit: Callable[[int], None] | None = None
        self.address, self._stopping, self._followers = address, False, 0

    @property
    def exit_code(self) -> int | None:
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def status(self) -> str:
        # Exited only once the log is read to its end: whoever looks for the reason then finds it.
        return "running" if self.process.poll() is None or self._followers else "exited"

    @property
    def attrs(self) -> dict[str, Any]:
        return {"NetworkSettings": {"Networks": {"loopback": {"IPAddress": self.address}}}, "State": {"Status": self.status, "ExitCode": self.exit_code}}

    def reload(self) -> None:
        pass

    def wait(self, **_: object) -> dict[str, int]:
        self.process.wait()
        return {"StatusCode": self.exit_code or 0}

    def logs(self, *, stream: bool = False, follow: bool = False, **_: object) -> bytes | Iterator[bytes]:
        if not stream:
            return self.log.read_bytes()
        self._followers += 1
        return self._lines(follow)

    def _lines(self, follow: bool) -> Iterator[bytes]:
        try:
            with self.log.open("rb") as file:
                rest = b""
                while True:
                    ended = self.process.poll() is not None
                    *lines, rest = (rest + file.read()).split(b"\n")
                    yield from (line + b"\n" for line in lines)
                    if ended or not follow:
                        break
                    time.sleep(0.05)
                if rest:
                    yield rest
        finally:
            self._followers -= 1

    def stop(self, **_: object) -> None:
        """Asks the process to end, and returns. The container's own stop time-out counts, not ministack's five seconds."""
        if self._stopping or self.process.poll() is not None:
            return
        self._stopping = True

        def ended() -> None:
            if self.on_exit is not None:
                self.on_exit(self.exit_code or 0)

        def drain() -> None:
            time.sleep(DRAIN_SECONDS if self.serves else 0)
            processes.stop(self.process, self.stop_timeout, then=ended)

        threading.Thread(target=drain, daemon=True, name=f"drain-{self.name}").start()

    def kill(self, **_: object) -> None:
        processes.stop(self.process, 0)

    def remove(self, **_: object) -> None:
        # The log stays until the emulator ends: a follower may still read it.
        self.stop()


class Spec:
    """What a container is made of: the arguments of docker's containers.run, and what ECS's task definition adds."""

    def __init__(
        self, image: str, *, name: str, environment: Mapping[str, object] | None = None, command: list[str] | None = None, labels: dict[str, str] | None = None,
        entrypoint: list[str] | None = None, working_dir: str | None = None, volumes: Mapping[str, Path] | None = None, stop_timeout: int = STOP_TIMEOUT,
        serves: bool = False, before: Callable[[], None] | None = None, **ignored: object,
    ) -> None:
        self.image, self.name, self.labels = image, name, labels or {}
        self.environment = {key: str(value) for key, value in (environment or {}).items()}
        self.command, self.entrypoint, self.working_dir = list(command or []), list(entrypoint or []), working_dir
        self.volumes = dict(volumes or {})  # path in the container → folder
        self.stop_timeout, self.serves = stop_timeout, serves
        self.before = before  # waits for the containers that this one depends on, or raises


_clients: list[Containers] = []


class Containers:
    def __init__(self, settings: Settings, images: Images) -> None:
        self._settings, self._images = settings, images
        self._all: dict[str, Container] = {}
        _clients.append(self)

    def run(self, image: str, **arguments: Any) -> Container:
        spec = Spec(image, **arguments)
        if spec.before is not None:
            spec.before()
        folder = self._settings.state / "containers" / f"{spec.name}-{uuid.uuid4().hex[:6]}"
        folder.mkdir(parents=True)
        address = processes.free_address()
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "HOSTNAME": spec.name, **self._reachable(spec.environment), "BIND_ADDR": address, "SEED_BIND_ADDR": address}
        if MYSQL.search(image):
            program, root, cwd = spec.entrypoint + spec.command, None, str(folder)
            env |= self._images.mariadb_environment()
            env["HOME"] = "/nonexistent"  # no option file of the user's
        else:
            program, root, cwd, env = self._of_image(spec, self._images.pull_image(image), env)
        if not root:
            env = {key: _below(value, spec.volumes) for key, value in env.items()}
            program = [_below(word, spec.volumes) if i else word for i, word in enumerate(program)]
        container = Container(spec, folder, processes.start(program, env=env, cwd=cwd, log=folder / "log", root=root), address)
        self._all[container.id] = container
        return container

    def _of_image(self, spec: Spec, image: Image, env: dict[str, str]) -> tuple[list[str], Path | None, str, dict[str, str]]:
        defaults = dict(entry.partition("=")[::2] for entry in image.config.get("Env") or [])
        words = (spec.entrypoint or image.config.get("Entrypoint") or []) + (spec.command or ([] if spec.entrypoint else image.config.get("Cmd")) or [])
        if not words:
            raise NotFound(f"CannotStartContainerError: image {spec.image} has no entrypoint and no command")
        cwd = spec.working_dir or image.config.get("WorkingDir") or "/"
        env = {**env, **defaults, **{key: env[key] for key in spec.environment}, "BIND_ADDR": env["BIND_ADDR"], "SEED_BIND_ADDR": env["BIND_ADDR"]}
        # A volume cannot be mounted into the image's files without rights that not even root has everywhere.
        if os.geteuid() == 0 and not spec.volumes:
            return words, image.root, cwd, env | ({} if "HOME" in spec.environment or "HOME" in defaults else {"HOME": "/"})
        program = image.root / words[0].lstrip("/")
        if program.is_file() and (needs := interpreter(program)):
            raise NotFound(f"CannotStartContainerError: {words[0]} of image {spec.image} needs {needs} of its image, which takes root here: run as root, or use a static program")
        return [str(program), *words[1:]], None, str(image.root / cwd.lstrip("/")), env

    def _reachable(self, env: Mapping[str, str]) -> dict[str, str]:
        # Containers of an engine would reach the emulator by this name; processes share its loopback.
        reachable = {key: value.replace("host.docker.internal", "127.0.0.1") for key, value in env.items()}
        return {"AWS_REGION": self._settings.region, "AWS_DEFAULT_REGION": self._settings.region, **reachable}

    def get(self, container_id: str) -> Container:
        for container in list(self._all.values()):
            if container_id and (container.id == container_id or container.name == container_id):
                return container
        raise NotFound(f"no such container: {container_id}")

    def list(self, *, all: bool = False, filters: object = None) -> list[Container]:  # noqa: A002 - docker's word
        return [c for c in self._all.values() if all or c.status == "running"]


def _below(text: str, volumes: Mapping[str, Path]) -> str:
    """A path in a volume, where the volume is. A process in place sees this machine's folders, not mount points."""
    for path, folder in volumes.items():
        if text == path or text.startswith(path + "/"):
            return str(folder) + text.removeprefix(path)
    return text


def inventory() -> list[dict[str, object]]:
    return [
        {"name": c.name, "image": c.image, "pid": c.process.pid, "log": str(c.log), "task": c.labels.get("com.amazonaws.ecs.task-arn", "")}
        for containers in _clients for c in containers.list()
    ]


class RegistryData:
    def __init__(self, digest: str) -> None:
        self.id = digest


class Images:
    def __init__(self, settings: Settings) -> None:
        self._settings, self._store = settings, Store(settings.url, settings.state / "images")

    def pull_image(self, name: str) -> Image:
        if (ref := Reference.parse(name)) is None:
            raise NotFound(f"CannotPullContainerError: image {name} is not in the environment's repository, and no other registry is reached from here")
        return self._store.pull(ref)

    def pull(self, name: str, **_: object) -> None:
        if not MYSQL.search(name):
            self.pull_image(name)

    get = pull

    def get_registry_data(self, name: str, **_: object) -> RegistryData:
        if (ref := Reference.parse(name)) is None:
            raise NotFound(name)
        return RegistryData(self._store.resolve(ref)[0])

    def mariadb_environment(self) -> dict[str, str]:
        return mariadb_environment(self._settings.mariadb)


def mariadb_environment(root: Path) -> dict[str, str]:
    """PATH and library path of MariaDB's programs, which are this machine's or unpacked below root."""
    system = os.environ.get("PATH", "")
    if root == Path("/"):
        return {"PATH": system}
    libraries = ":".join(str(folder) for folder in sorted(root.glob("usr/lib/*-linux-gnu")))
    return {"PATH": f"{root}/usr/bin:{root}/usr/sbin:{system}", "LD_LIBRARY_PATH": libraries}


class Client:
    """Stands in for docker.DockerClient."""

    def __init__(self, settings: Settings) -> None:
        self.images = Images(settings)
        self.containers = Containers(settings, self.images)
