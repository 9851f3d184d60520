"""The programs that a command starts, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import IO, Any

import psutil

from local import interrupts

_running: set[subprocess.Popen[bytes]] = set()


def start(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, so that a Ctrl-C in the terminal reaches this process alone, which ends it."""
    with interrupts.held():
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        _running.add(child)
    return child


def wait(child: subprocess.Popen[bytes]) -> int:
    code = child.wait()
    _running.discard(child)
    return code


def end_all() -> None:
    """Ends every program that was started, and what it started."""
    for child in list(_running):
        try:
            end(psutil.Process(child.pid), patience=5)
        except psutil.NoSuchProcess:
            pass
        child.wait()
        _running.discard(child)


def end(process: psutil.Process, patience: float) -> list[psutil.Process]:
    """Asks a process and its group to end, and after some seconds ends it and all that descends from it. Returns the processes
    that had to be ended so."""
    family = [process, *descendants(process)]
    signal_group(process, signal.SIGTERM)
    psutil.wait_procs([process], timeout=patience)
    # Its children may take a moment longer than it does.
    _, alive = psutil.wait_procs(family, timeout=1)
    for survivor in alive:
        try:
            survivor.kill()
        except psutil.NoSuchProcess:
            pass
    psutil.wait_procs(alive, timeout=5)
    return list(alive)


def signal_group(process: psutil.Process, number: signal.Signals) -> None:
    """Signals the process, and the others of its group where it leads one."""
    try:
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass


def descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = process.children(recursive=True)
        return children
    except psutil.NoSuchProcess:
        return []


def output(child: subprocess.Popen[bytes]) -> IO[bytes]:
    assert child.stdout is not None
    return child.stdout
