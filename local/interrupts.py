"""Ctrl-C and its like, at any moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# As a shell says it of a program that Ctrl-C ended. It is the code for the other signals too.
EXIT_CODE = 130

_held = 0
_pending = False


class Interrupted(BaseException):
    """The run is to end. It passes `except Exception`."""


def install() -> None:
    """Makes Ctrl-C, a request to end and a closed terminal raise Interrupted in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    global _pending
    if _held:
        _pending = True
        return
    raise Interrupted


@contextmanager
def held() -> Iterator[None]:
    """Lets a signal wait until the block has ended: what starts a process and notes it, and what ends processes, must be whole."""
    global _held, _pending
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if _pending and not _held:
        _pending = False
        raise Interrupted
