"""Ports of the loopback address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

ADDRESS = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tells whether a server could listen on a port; 0 is any."""
    with socket.socket() as listener:
        # As servers do: what is left of an ended connection does not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
            listener.listen()
        except OSError:
            return False
    return True


def any_free() -> int:
    with socket.socket() as listener:
        listener.bind((ADDRESS, 0))
        port: int = listener.getsockname()[1]
    return port


def choose(preferred: Iterable[int], free: Callable[[int], bool] = is_free, other: Callable[[], int] = any_free) -> list[int]:
    """As many different free ports as are preferred: each of those that is free, and another one in place of each that is not."""
    chosen: list[int] = []
    for port in preferred:
        while port in chosen or not free(port):
            port = other()
        chosen.append(port)
    return chosen
