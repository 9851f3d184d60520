"""Starts the emulator on loopback. Its settings are the environment variables in Settings."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from .settings import Settings


def main() -> None:
    settings = Settings.from_environment(os.environ)
    for folder in ("tmp", "home", "images", "containers", "volumes", "databases"):
        (settings.state / folder).mkdir(parents=True, exist_ok=True)
    # ministack reads these when it is imported.
    os.environ.update(
        BIND_HOST="127.0.0.1",
        MINISTACK_HOST="127.0.0.1",
        AWS_ENDPOINT_URL=settings.url,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        TMPDIR=str(settings.state / "tmp"),
    )
    from .app import serve  # only now: it imports ministack

    asyncio.run(serve(settings))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
