"""How a command ends when it did not do what it was asked for."""

from __future__ import annotations


class Failure(Exception):
    """Says what was wrong, where, and what to do. The command ends with exit code 1."""


def tail(text: str, lines: int = 20) -> str:
    """The last lines of a log, indented, to stand below a message."""
    return "\n".join("    " + line for line in text.splitlines()[-lines:])
