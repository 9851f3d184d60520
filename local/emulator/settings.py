"""The settings of the emulator's process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    state: Path  # LOCAL_STATE: the folder of everything that the emulator writes
    port: int  # GATEWAY_PORT: of AWS's APIs and the registry
    load_balancer_ports: tuple[int, ...]  # LOCAL_LB_PORTS: one for each load balancer that can exist at a time
    mariadb: Path  # LOCAL_MARIADB: the folder below which usr/sbin/mariadbd is
    region: str  # MINISTACK_REGION

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        names = ("LOCAL_STATE", "GATEWAY_PORT", "LOCAL_LB_PORTS", "LOCAL_MARIADB", "MINISTACK_REGION")
        missing = [name for name in names if not env.get(name)]
        if missing:
            raise SystemExit(f"the emulator needs {', '.join(missing)} in its environment; `make local` sets them")
        return cls(
            state=Path(env["LOCAL_STATE"]),
            port=int(env["GATEWAY_PORT"]),
            load_balancer_ports=tuple(int(port) for port in env["LOCAL_LB_PORTS"].split(",")),
            mariadb=Path(env["LOCAL_MARIADB"]),
            region=env["MINISTACK_REGION"],
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
