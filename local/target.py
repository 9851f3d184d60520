"""What is known of the emulator that runs, and the environments of the programs that are started for it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from local.failure import Failure
from local.ports import ADDRESS

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".local"
STATE = FOLDER / "run"
RECORD = STATE / "target.json"
ASSEMBLY = STATE / "cdk.out"  # what was deployed last
EMULATOR_LOG = STATE / "emulator.log"
CLI_LOG = STATE / "cdk.log"


@dataclass(frozen=True)
class Target:
    """A started emulator."""

    pid: int
    region: str
    gateway_port: int
    load_balancer_ports: list[int]
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S"))

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.gateway_port}"

    def write(self) -> None:
        new = RECORD.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1) + "\n")
        new.replace(RECORD)


def read_target() -> Target | None:
    try:
        return Target(**json.loads(RECORD.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise Failure(f"{RECORD.relative_to(ROOT)} cannot be read: {error}; it says which emulator runs: end that process, if there is one, and remove {STATE.relative_to(ROOT)}") from None


def mariadb() -> Path:
    """The folder that holds usr/sbin/mariadbd: the system's, or what make unpacked."""
    unpacked = FOLDER / "mariadb"
    return unpacked if (unpacked / "usr/sbin/mariadbd").exists() else Path("/")


def isolate() -> None:
    """Takes out of this process's environment what could lead a program to AWS, or what is the user's own there."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AMAZON_")) or name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def path() -> str:
    """The PATH of what is started: the project's own Node.js and CLI first."""
    return f"{ROOT / 'node_modules/.bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def emulator_environment(gateway_port: int, load_balancer_ports: list[int], region: str) -> dict[str, str]:
    """All that the emulator is given. It reads a hundred variables, and one of the user's could change what it does."""
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LOGNAME", "TZ", "USER") or name.startswith("LC_")}
    return kept | {
        "LOCAL_STATE": str(STATE),
        "GATEWAY_PORT": str(gateway_port),
        "LOCAL_LB_PORTS": ",".join(map(str, load_balancer_ports)),
        "LOCAL_MARIADB": str(mariadb()),
        "MINISTACK_REGION": region,
        "NODE_PATH": str(ROOT / "local/node_modules"),
        "PATH": path(),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(STATE / "tmp"),
        "HOME": str(STATE / "home"),
    }


def client_environment(region: str, url: str) -> dict[str, str]:
    """The environment of the CDK CLI and of `infra`: they reach the emulator at url and nothing else."""
    home = STATE / "home"
    return dict(os.environ) | go_folders() | {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        # The CLI keeps there which account a key belongs to.
        "CDK_HOME": str(home / ".cdk"),
        "HOME": str(home),
        "PATH": path(),
    }


def go_folders() -> dict[str, str]:
    """Go's caches, and the CDK library's: the home folder of the target has none, and the application would be compiled anew."""
    folders = subprocess.run(["go", "env", "-json", "GOCACHE", "GOENV", "GOMODCACHE", "GOPATH"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    jsii = os.environ.get("JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(Path.home() / ".cache/aws/jsii/package-cache"))
    return {**json.loads(folders), "JSII_RUNTIME_PACKAGE_CACHE_ROOT": jsii}
