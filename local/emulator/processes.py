"""Processes of this machine that end with the emulator, however it ends."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)

# The kernel sends the signal when the *thread* that started the process ends: this one lives as long as the emulator.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
_running: set[subprocess.Popen[bytes]] = set()
_addresses: Iterator[ipaddress.IPv4Address] = iter(())
_lock = threading.Lock()
_ending = threading.Event()


def adopt() -> None:
    """Makes what a container leaves to itself, as a daemon does, a child of the emulator: `make local-down` finds and ends it."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def share_loopback(port: int) -> None:
    """Takes 65,534 of the loopback addresses for the emulator on a port, so that another emulator has others."""
    global _addresses
    _addresses = iter(ipaddress.IPv4Network(f"127.{1 + port % 254}.0.0/16").hosts())


def free_address() -> str:
    """A loopback address that no other process was given: Linux answers on all of 127.0.0.0/8."""
    with _lock:
        return str(next(_addresses))


def popen(argv: Sequence[str], *, root: Path | None = None, **options: Any) -> subprocess.Popen[Any]:
    """subprocess.Popen of a process that ends with the emulator, in root as its root directory if one is given."""
    if _ending.is_set():
        raise OSError("the emulator is ending")
    cwd = options.pop("cwd", None)

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if root is not None:
            os.chroot(root)
            os.chdir(cwd or "/")

    return _starter.submit(lambda: subprocess.Popen(argv, cwd=None if root else cwd, preexec_fn=prepare, **options)).result()


def start(argv: Sequence[str], *, env: Mapping[str, str], cwd: str | Path, log: Path, root: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own, which writes to a log."""
    with log.open("ab") as output:
        process = popen(argv, root=root, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    with _lock:
        _running.difference_update([p for p in _running if p.poll() is not None])
        _running.add(process)
    return process


def stop(process: subprocess.Popen[bytes], timeout: float, sign: signal.Signals = signal.SIGTERM, then: Callable[[], None] | None = None) -> threading.Thread:
    """Ends a process and what it started, without waiting for it: sign first, KILL after timeout seconds."""

    def end() -> None:
        _signal(process, sign)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        _signal(process, signal.SIGKILL)  # whatever is left of its session
        process.wait()
        if then is not None:
            then()

    thread = threading.Thread(target=end, daemon=True, name=f"stop-{process.pid}")
    thread.start()
    return thread


def stop_all(timeout: float = 8) -> None:
    _ending.set()
    with _lock:
        alive = [p for p in _running if p.poll() is None]
    for thread in [stop(process, timeout) for process in alive]:
        thread.join(timeout + 2)


def _signal(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    try:
        os.killpg(process.pid, sign)
    except (ProcessLookupError, PermissionError):
        pass
