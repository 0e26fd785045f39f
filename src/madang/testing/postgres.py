# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL cluster of the test's own, in a temporary folder on a free port of the loopback address."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Final

_FOLDERS: Final = ("/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/15/bin")
_SETTINGS: Final = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "max_connections": "200",
    "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'",
    "log_min_messages": "fatal",
}


class Cluster:
    """Started by `start`, ended by `close`, which leaves nothing behind.

    Args:
        durable: wait for the disk at every commit, as a city's database does; False is for tests that need no crash.
    """

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        self._bin = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="madang-pg-"))
        self._data = self._folder / "data"
        # PostgreSQL refuses to run as root; the package made a user for it.
        self._user = "postgres" if os.geteuid() == 0 else None
        self.port = _free_port()
        lasting = "on" if durable else "off"
        self._settings = {**_SETTINGS, "fsync": lasting, "synchronous_commit": lasting, "port": str(self.port)}
        self._settings.update(settings or {})

    def start(self) -> Cluster:
        """Make the cluster and start it."""
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "madang", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in self._settings.items())
        self.resume()
        return self

    def resume(self) -> None:
        """Start the server (again)."""
        self._run("pg_ctl", "-w", "-t", "60", "-D", str(self._data), "-l", str(self._folder / "log"), "start")

    def halt(self, mode: str = "immediate") -> None:
        """Stop the server: "immediate" as a crash would, "fast" with all connections cut."""
        self._run("pg_ctl", "-w", "-D", str(self._data), "-m", mode, "stop")

    def database(self) -> str:
        """Make an empty database and return its address."""
        name = f"t{uuid.uuid4().hex}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "madang", name)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://madang@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Stop the server and remove the folder."""
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists():
            try:
                self.halt()
            except subprocess.CalledProcessError:
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 - our own programs and arguments
            [f"{self._bin}/{program}", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            group=self._user,
            cwd="/",
            env={"PATH": f"{self._bin}:/usr/bin:/bin", "LC_ALL": "C", "PGTZ": "UTC"},
        )


def _programs() -> str:
    for folder in _FOLDERS:
        if Path(folder, "initdb").exists():
            return folder
    found = shutil.which("initdb")
    assert found is not None, "PostgreSQL is missing; make test-system installs it"
    return str(Path(found).parent)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
