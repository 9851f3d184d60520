"""MariaDB's client on the local database."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn

from local.aws import Cloud, database
from local.failure import Failure
from local.settings import Settings
from local.target import ROOT, STATE, mariadb


def become(arguments: Sequence[str], cloud: Cloud, settings: Settings) -> NoReturn:
    """Replaces this process by the client."""
    client = mariadb() / "usr/bin/mariadb"
    if not client.exists():
        raise Failure(f"MariaDB's client is missing: there is no {client}; `make mariadb` installs it")
    authority = STATE / "ca.pem"
    if not authority.exists():
        raise Failure(f"{authority.relative_to(ROOT)} is missing, so that the database's certificate cannot be verified: "
                      "the emulator writes it; stop it with `make local-down ARGS=--force`, and start it again with `make local`")
    secret = database(cloud, settings)
    options = [f"--host={secret['host']}", f"--port={secret['port']}", f"--user={secret['username']}", f"--ssl-ca={authority}", "--ssl-verify-server-cert"]
    # Not an option: those are in the list of processes for everybody.
    environment = dict(os.environ) | {"MYSQL_PWD": secret["password"]}
    # The first argument of the client must say which files of options it reads; the user's could lead elsewhere.
    os.execve(client, [str(client), "--no-defaults", *options, f"--database={secret['dbname']}", *arguments], environment)
