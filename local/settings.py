"""The few keys of config/local.yaml that the commands themselves need. The application checks all of them when it synthesizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from local.failure import Failure

ENV = "local"
# What the emulator's account is, whatever the credentials.
ACCOUNT = "000000000000"

# The kernel's names of the processors that architecture can name.
MACHINES = {"X86_64": "x86_64", "ARM64": "aarch64"}


@dataclass(frozen=True)
class Settings:
    project: str
    region: str
    architecture: str

    def stack(self, part: str) -> str:
        """The name of one of the stacks: network, data, service or pipeline."""
        return f"{self.project}-{ENV}-{part}"


def load(root: Path) -> Settings:
    path = root / "config" / f"{ENV}.yaml"
    where = path.relative_to(root)
    try:
        document: Any = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise Failure(f"{where} is missing: it is the environment that the local target deploys; restore it, as by git checkout -- {where}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Failure(f"{where} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise Failure(f"{where} holds no keys: see docs/configuration.md")
    architecture = document.get("architecture", "X86_64")
    for key, value in (("project", document.get("project")), ("region", document.get("region")), ("architecture", architecture)):
        if not isinstance(value, str):
            raise Failure(f"{where}: {key} is {value!r}, want a text: see docs/configuration.md")
    return Settings(document["project"], document["region"], architecture)


def check_machine(settings: Settings, system: str, machine: str) -> None:
    """Stops where nothing could run: containers and Lambda functions are processes of this machine."""
    if system != "Linux":
        raise Failure(f"the local target runs on Linux only, because containers are processes of this machine; this is {system}: use a Linux machine or a virtual one")
    wanted = MACHINES.get(settings.architecture)
    if wanted is None or wanted == machine:
        return  # the application names a wrong value, and the allowed ones
    for name, kernel in MACHINES.items():
        if kernel == machine:
            raise Failure(f"on this processor ({machine}) set architecture: {name} in config/{ENV}.yaml; "
                          f"it is {settings.architecture}, and programs for that do not run here")
    raise Failure(f"this processor is {machine}; images and Lambda functions exist for {' and '.join(MACHINES.values())} only")
