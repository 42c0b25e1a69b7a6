"""A PostgreSQL and a Redis of our own, on free ports and in a folder of the test: they may be killed and restarted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.ports import find_free_port

POSTGRES_FLAGS = ["-c", "fsync=off", "-c", "max_connections=120"]
PATIENCE = 120.0  # seconds until a server answers or has ended: the machine may be busy


def until(condition, *, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


class Postgres:
    """One cluster; PostgreSQL refuses to run as root, so root lends it the user postgres."""

    def __init__(self, address: str = "127.0.0.1", flags: list[str] = POSTGRES_FLAGS) -> None:
        self.address, self.flags = address, flags
        # Not below pytest's folders, which are closed to other users.
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="plane-postgres-")), find_free_port()
        self.bin = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            shutil.chown(self.folder, self.user, self.user)
        self.run("initdb", "--username=plane", "--auth=trust", "--no-sync", "-D", str(self.folder / "data"))
        with (self.folder / "data/pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {address}/24 trust\n")
        self.start()

    def run(self, name: str, *arguments: str) -> None:
        command = [str(self.bin / name), *arguments]
        subprocess.run(command, user=self.user, cwd="/", check=True, capture_output=True)

    def start(self) -> None:
        command = [
            str(self.bin / "postgres"),
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
            "-k",
            str(self.folder),
        ]
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.flags, "-c", f"listen_addresses={self.address}"],
                user=self.user,
                cwd="/",
                stdout=log,
                stderr=log,
            )
        until(self.answers, seconds=PATIENCE, what="PostgreSQL did not start")

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "postgres.log").read_text()[-2000:]
        command = [str(self.bin / "pg_isready"), "-q", "-h", self.address, "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, *, hard: bool = False) -> None:
        # An immediate shutdown (SIGQUIT) ends every backend at once, as a crash would, and recovers at the start.
        self.process.send_signal(3 if hard else 2)
        self.process.wait(timeout=PATIENCE)

    def remove(self) -> None:
        self.stop(hard=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgres://plane@{self.address}:{self.port}/{database}"

    def sql(self, statement: str) -> None:
        command = [str(self.bin / "psql"), "-qAt", "-h", self.address, "-p", str(self.port), "-U", "plane", "postgres"]
        subprocess.run([*command, "-c", statement], check=True, capture_output=True)


class Redis:
    """One server that keeps what it was told, as the notes for an operator ask (AOF)."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder, self.port, self.address = folder, find_free_port(), address
        folder.mkdir()
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", self.address, "--dir", str(self.folder)]
        flags = ["--protected-mode", "no", "--appendonly", "yes", "--save", "", "--logfile", "redis.log"]
        self.process = subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL)
        until(self.answers, seconds=PATIENCE, what="Redis did not start")

    def answers(self) -> bool:
        assert self.process.poll() is None, "Redis has ended"
        try:
            with socket.create_connection((self.address, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self, *, hard: bool = False) -> None:
        self.process.kill() if hard else self.process.terminate()
        self.process.wait(timeout=PATIENCE)

    def url(self, number: int) -> str:
        return f"redis://{self.address}:{self.port}/{number}"
