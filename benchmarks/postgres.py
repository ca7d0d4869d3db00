"""A PostgreSQL server of its own for a test or a benchmark: Debian's package, a folder under /tmp, one port of loopback.

    with postgres.serving() as server:
        os.environ["PGPASSWORD"] = server.password
        ... server.url, server.stop(), server.start()

It takes passwords alone (SCRAM), as a server that machines share does. Its programs refuse to run as root, and then run as
the user `postgres` that the package makes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEBIAN = Path("/usr/lib/postgresql")  # <version>/bin, which is not on the PATH
USER = "postgres"


@dataclass(frozen=True)
class Server:
    """url: without its password."""

    programs: Path
    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._control("start", "-w", "-l", str(self.folder / "log.txt"), "-o", options)

    def stop(self) -> None:
        """At once, as if its machine had lost power."""
        self._control("stop", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        _run([str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), *arguments], self.folder)


def programs() -> Path | None:
    """The folder of the server's programs; None where the package (`postgresql`) is not installed."""
    on_path = shutil.which("pg_ctl")
    found = [Path(on_path).parent] if on_path else sorted(DEBIAN.glob("*/bin"), key=lambda p: int(p.parent.name))
    return next((p for p in reversed(found) if (p / "initdb").exists()), None)


@contextmanager
def serving() -> Generator[Server]:
    there = programs()
    assert there, "PostgreSQL is not installed (Debian: apt install postgresql)"
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        server = Server(there, folder, _free_port(), secrets.token_hex(12))
        (folder / "password").write_text(server.password)
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, USER)
        making = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8", "--no-sync"]
        _run([str(there / "initdb"), "-D", str(folder / "data"), *making], folder)
        server.start()
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder)


def _run(command: list[str], folder: Path) -> None:
    """Its output goes to a file: a server that inherits a pipe would keep it open."""
    user: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    with open(folder / "output.txt", "ab") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, check=False, **user)
    assert done.returncode == 0, (folder / "output.txt").read_text()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
