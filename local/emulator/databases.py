"""RDS: a real MariaDB server behind each database instance, with a certificate of the local target's own CA.

ministack's CloudFormation only keeps a record, whose host name does not exist.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ministack.services import rds
from ministack.services.cloudformation import provisioners

from . import processes
from .containers import mariadb_environment
from .settings import Settings

PORT = 3306
START_TIMEOUT = 60  # seconds; a start takes about three

CA = "ca.pem"

# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.MasterAccounts.html, of MySQL 8.0 those that MariaDB knows:
# neither SUPER nor FILE, which reads and writes files with the server's rights.
MASTER_PRIVILEGES = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, "
    "REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, "
    "DELETE HISTORY"  # MariaDB's own: without it nobody could be granted ALL on a database
)

_servers: dict[str, Server] = {}  # by the instance's identifier
_lock = threading.Lock()


def install(settings: Settings) -> None:
    authority = Authority(settings.state)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::RDS::DBInstance"]
    create, delete = handlers["create"], handlers["delete"]

    def created(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        identifier, _ = create(logical_id, props, stack)
        instance = rds._instances[identifier]
        try:
            server = Server(settings, authority, identifier, instance, _parameters(props))
        except (OSError, ValueError):
            delete(identifier, props)  # CloudFormation deletes only what was created
            raise
        with _lock:
            _servers[identifier] = server
        instance["Endpoint"] |= {"Address": server.address, "Port": PORT}
        return identifier, provisioners._rds_db_instance_attrs(instance)

    def deleted(identifier: str, props: dict[str, Any]) -> None:
        if instance := rds._instances.get(identifier):
            if instance.get("DeletionProtection"):
                raise ValueError("Cannot delete protected DB Instance, please disable deletion protection and try again.")
        delete(identifier, props)
        with _lock:
            server = _servers.pop(identifier, None)
        if server:
            server.remove()

    handlers["create"], handlers["delete"] = created, deleted

    # Only the record's state changes.
    for action, change in (("StopDBInstance", Server.stop), ("StartDBInstance", Server.start)):
        rds._ACTION_MAP[action] = _with_server(rds._ACTION_MAP[action], change)


def _with_server(original: Callable[[Any], Any], change: Callable[[Server], None]) -> Callable[[Any], Any]:
    def changed(parameters: Any) -> Any:
        with _lock:
            server = _servers.get(rds._p(parameters, "DBInstanceIdentifier"))
        if server:
            change(server)
        return original(parameters)

    return changed


def inventory() -> list[dict[str, Any]]:
    with _lock:
        return [{"id": identifier, "address": server.address, "port": PORT, "log": str(server.log)} for identifier, server in _servers.items()]


def trust(settings: Settings, folder: Path) -> None:
    """Adds the local target's CA to the RDS bundle in a task's volume."""
    authority = (settings.state / CA).read_text() if (settings.state / CA).exists() else ""
    for bundle in folder.glob("rds-ca-bundle.pem"):
        text = bundle.read_text()
        if authority not in text:
            bundle.write_text(text.rstrip("\n") + "\n" + authority)


def _parameters(props: dict[str, Any]) -> dict[str, str]:
    group = rds._param_groups.get(props.get("DBParameterGroupName", "")) or {}
    parameters = group.get("Parameters") or {}
    if isinstance(parameters, list):
        return {p["ParameterName"]: str(p.get("ParameterValue", "")) for p in parameters}
    return {name: str(value.get("ParameterValue", "") if isinstance(value, dict) else value) for name, value in parameters.items()}


class Server:
    def __init__(self, settings: Settings, authority: Authority, identifier: str, instance: dict[str, Any], parameters: dict[str, str]) -> None:
        self.address = processes.free_address()
        self.folder = settings.state / "databases" / identifier
        self.log = self.folder / "log"
        self.folder.mkdir(parents=True)
        self._env = {**mariadb_environment(settings.mariadb), "HOME": "/nonexistent", "LC_ALL": "C"}
        certificate, key = authority.issue(self.address, self.folder)
        self._install(settings)
        self._write_users(instance)
        # The socket's path is relative to the data: a whole one may have 107 characters only.
        self._command = [
            self._program(settings, "mariadbd"), "--no-defaults",
            f"--datadir={self.folder}/data", "--socket=socket", f"--pid-file={self.folder}/pid", f"--bind-address={self.address}", f"--port={PORT}",
            f"--tmpdir={self.folder}", "--skip-name-resolve", f"--ssl-cert={certificate}", f"--ssl-key={key}",
            *(f"--loose-{name.replace('_', '-')}={value}" for name, value in parameters.items()), *self._as_root(),
        ]
        self.start(f"--init-file={self.folder}/users.sql")
        (self.folder / "users.sql").unlink()

    def start(self, *options: str) -> None:
        self._process = processes.start([*self._command, *options], env=self._env, cwd=self.folder, log=self.log)
        self._await()

    def stop(self) -> None:
        """Ends the server's process and keeps the data."""
        processes.stop(self._process, 10).join()

    def _program(self, settings: Settings, name: str) -> str:
        found = shutil.which(name, path=self._env["PATH"] + ":/usr/sbin:/usr/bin")
        if found is None:
            raise ValueError(f"{name} is not below {settings.mariadb}: `make local` installs MariaDB")
        return found

    @staticmethod
    def _as_root() -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _install(self, settings: Settings) -> None:
        command = [
            self._program(settings, "mariadb-install-db"), "--no-defaults", f"--datadir={self.folder}/data", f"--basedir={settings.mariadb / 'usr'}",
            "--auth-root-authentication-method=normal", "--skip-test-db", *self._as_root(),
        ]
        done = subprocess.run(command, env=self._env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise ValueError(f"mariadb-install-db failed: {done.stdout[-1000:]}")

    def _write_users(self, instance: dict[str, Any]) -> None:
        """The server runs this file as it starts: one statement a line."""
        user, password, name = (instance[key].replace("\\", "\\\\").replace("'", "\\'") for key in ("MasterUsername", "_MasterUserPassword", "DBName"))
        users = self.folder / "users.sql"
        users.touch(mode=0o600)
        users.write_text(
            f"CREATE DATABASE IF NOT EXISTS `{name}`;\n"
            f"CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}';\n"
            f"GRANT {MASTER_PRIVILEGES} ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
            # It has no password, and everybody on this machine comes from 127.0.0.1.
            "DELETE FROM mysql.global_priv WHERE User = 'root';\n"
            "FLUSH PRIVILEGES;\n"
        )

    def _await(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection((self.address, PORT), 1) as connection:
                    if connection.recv(1):
                        return
            except OSError:
                time.sleep(0.1)
        processes.stop(self._process, 0)
        raise ValueError(f"the database server did not start: {self.log.read_text(errors='replace')[-1000:]}")

    def remove(self) -> None:
        processes.stop(self._process, 10, then=lambda: shutil.rmtree(self.folder, ignore_errors=True)).join()


@dataclass
class Authority:
    """A certificate authority that lives as long as the emulator; its key is never written."""

    folder: Path

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local target")])
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        (self.folder / CA).write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30))
        )

    def issue(self, address: str, folder: Path) -> tuple[Path, Path]:
        """The certificate and the key of a server at an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        # GnuTLS, with which Debian builds MariaDB's client, compares an address with the common name as well.
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)]), key).add_extension(names, critical=False)
        certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        certificate_file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return certificate_file, key_file
