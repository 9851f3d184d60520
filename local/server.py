"""The life of the emulator: one at a time in this folder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from local import children, interrupts, ports
from local.failure import Failure, tail
from local.target import EMULATOR_LOG, FOLDER, RECORD, ROOT, STATE, Target, emulator_environment, mariadb, read_target

LAST_LOG = FOLDER / "last-emulator.log"

GATEWAY_PORT = 4566
LOAD_BALANCER_PORTS = (8080, 8081)

START_SECONDS = 60
# The emulator may take 15 s to end what it has started.
STOP_SECONDS = 20
# How long one that was found alive may take to answer: it may just have been started.
ANSWER_SECONDS = 10


@contextmanager
def exclusive() -> Iterator[None]:
    """Keeps two runs from starting and stopping emulators at the same time."""
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / "lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Failure(f"another `make local` or `make local-down` is at work in this folder (process {lock.read().strip() or 'unknown'}): wait for its end, or end it with Ctrl-C") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def process(target: Target) -> psutil.Process | None:
    """The emulator's process. One that has its number by chance has another environment."""
    try:
        found = psutil.Process(target.pid)
        if found.status() != psutil.STATUS_ZOMBIE and found.environ().get("LOCAL_STATE") == str(STATE):
            return found
    except psutil.AccessDenied:
        pass  # somebody else's
    except psutil.NoSuchProcess:
        pass
    return None


def get(url: str, timeout: float = 10) -> Any:
    """What the emulator answers on one of its own addresses, /_local/…"""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=timeout) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def inventory(target: Target) -> dict[str, Any]:
    found: dict[str, Any] = get(f"{target.url}/_local/inventory")
    return found


def is_ready(target: Target) -> bool:
    """Tells whether this very emulator answers: another one, of another folder, may have taken the port first."""
    found = process(target)
    try:
        if found is None or not any(c.status == psutil.CONN_LISTEN and c.laddr.port == target.gateway_port for c in found.net_connections("tcp4")):
            return False
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{target.url}/_local/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def alive() -> Target | None:
    """The emulator whose process lives, or None."""
    target = read_target()
    return target if target is not None and process(target) is not None else None


def find() -> Target | None:
    """The emulator that runs, or None. Raises a Failure for one that does not answer."""
    limit = time.monotonic() + ANSWER_SECONDS
    while (target := alive()) is not None and not is_ready(target):
        if time.monotonic() > limit:
            raise Failure(f"the emulator that was started {target.started} (process {target.pid}) lives, but does not answer at {target.url}: "
                          f"its log is {EMULATOR_LOG.relative_to(ROOT)}; `make local-down ARGS=--force` stops it")
        time.sleep(0.1)
    return target


def require() -> Target:
    target = find()
    if target is None:
        raise Failure("no emulator runs: start it with `make local`")
    return target


def remove_stale(consequence: str = ": starting from zero") -> str | None:
    """Removes the state of an emulator that is gone, and says so."""
    if not STATE.exists():
        return None
    target = read_target()
    if target is not None and EMULATOR_LOG.exists():
        EMULATOR_LOG.replace(LAST_LOG)
    shutil.rmtree(STATE)
    if target is None:
        return None  # the run that began it was ended before anything ran
    return f"the emulator that was started {target.started} (process {target.pid}) is gone, its state with it{consequence} (its log is {LAST_LOG.relative_to(ROOT)})"


def start(region: str) -> Target:
    """Starts an emulator on free ports and returns once it answers."""
    if not (mariadb() / "usr/sbin/mariadbd").exists():
        raise Failure("MariaDB's server is missing: there is no /usr/sbin/mariadbd, and none below .local/mariadb; `make mariadb` installs it")
    for folder in ("tmp", "home"):
        (STATE / folder).mkdir(parents=True, exist_ok=True)
    STATE.chmod(0o700)
    for last in (False, False, True):
        chosen = ports.choose([GATEWAY_PORT, *LOAD_BALANCER_PORTS])
        child, target = launch(region, chosen)
        problem = watch(child, target)
        if problem is None:
            return target
        # Between the choice of a port and its use somebody else may have taken it: then there are others.
        if last or all(map(ports.is_free, chosen)):
            raise Failure(f"{problem}; its log ({EMULATOR_LOG.relative_to(ROOT)}) ends with\n{log_tail()}")
    raise AssertionError


def launch(region: str, chosen: list[int]) -> tuple[subprocess.Popen[bytes], Target]:
    gateway, *load_balancers = chosen
    # Whoever reads the record must find the process, and the other way round. The session of its own keeps the terminal's
    # Ctrl-C from it: it goes on after the end of this process, unless this process ends it.
    with interrupts.held(), EMULATOR_LOG.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "local.emulator"], cwd=ROOT, env=emulator_environment(gateway, load_balancers, region),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        target = Target(child.pid, region, gateway, load_balancers)
        target.write()
    return child, target


def watch(child: subprocess.Popen[bytes], target: Target) -> str | None:
    """Waits until the emulator answers. If it does not, it is ended, and the text says what was the matter."""
    limit = time.monotonic() + START_SECONDS
    while not is_ready(target):
        problem = None
        if child.poll() is not None:
            problem = f"the emulator ended with code {child.returncode} while it started"
        elif time.monotonic() > limit:
            problem = f"the emulator does not answer at {target.url} after {START_SECONDS} s, and was ended"
        if problem is not None:
            with interrupts.held():
                end(target)
                RECORD.unlink()
            return problem
        time.sleep(0.05)
    return None


def log_tail() -> str:
    try:
        return tail(EMULATOR_LOG.read_text(errors="replace"))
    except OSError as error:
        return f"    {error}"


def stop() -> list[str]:
    """Ends the emulator, if one was started, and all that it has started, and removes its state. Returns which processes it
    left behind."""
    target = read_target()
    left = end(target) if target is not None else []
    shutil.rmtree(STATE, ignore_errors=True)
    return left


def end(target: Target) -> list[str]:
    found = process(target)
    if found is None:
        return []
    names = {p.pid: name(p) for p in [found, *children.descendants(found)]}
    return [f"{names.get(p.pid, 'a process')} ({p.pid})" for p in children.end(found, STOP_SECONDS)]


def name(of: psutil.Process) -> str:
    try:
        return str(of.name())
    except psutil.NoSuchProcess:
        return "?"


def memory(target: Target) -> list[tuple[str, int]]:
    """The resident memory of the emulator and of what it has started, in bytes: by kind, the emulator first."""
    sizes = {"emulator": 0, "MariaDB": 0, "containers and functions": 0}
    found = process(target)
    if found is None:
        return []
    for p in [found, *children.descendants(found)]:
        try:
            kind = "emulator" if p.pid == found.pid else "MariaDB" if "maria" in p.name() else "containers and functions"
            sizes[kind] += p.memory_info().rss
        except psutil.NoSuchProcess:
            pass
    return [(kind, size) for kind, size in sizes.items() if size]
