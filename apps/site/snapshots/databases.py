"""The database of the plane in one file, as it stood at one moment, while the plane goes on writing; and back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from apps.core.errors import Conflict, Unavailable
from apps.site.snapshots.layout import DATABASES

DIGESTS = "SELECT digest, size, damaged_at IS NOT NULL FROM artifacts_artifact ORDER BY digest"
MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY id"
HEAD = "SELECT seq, hash FROM audit_chainhead"
OPTIONS = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}


class DumpedState:
    """What the dumped database says, read from the very state that was dumped."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    def rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        self.cursor.execute(query)
        while batch := self.cursor.fetchmany(1000):
            yield from batch

    def artifacts(self) -> list[tuple[str, int, bool]]:
        """(digest, size, known to be damaged) of every object that the database names."""
        return [(digest, size, bool(damaged)) for digest, size, damaged in self.rows(DIGESTS)]

    def migrations(self) -> list[str]:
        return [f"{app}.{name}" for app, name in self.rows(MIGRATIONS)]

    def audit(self) -> dict[str, Any]:
        """Where the sealed part of the trail ends."""
        return next(({"seq": seq, "hash": head} for seq, head in self.rows(HEAD)), {})


class Database(ABC):
    file: str

    @abstractmethod
    def dump(self, folder: Path, *, for_blocks: bool = False) -> Any:
        """Write the file into `folder`; a context that gives a DumpedState of exactly that state.

        `for_blocks`: a larger file that resembles the one of last time, of which only the changed blocks are stored.
        """

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Fill an empty database from the file of a backup."""

    @abstractmethod
    def is_empty(self) -> bool: ...

    def require_empty(self) -> None:
        if not self.is_empty():
            raise Conflict(
                "The database is not empty, and a restore replaces nothing.",
                code="not_empty",
                hint="Name an empty one: another PLANE_HOME, or a fresh database in DATABASE_URL.",
            )


class Sqlite(Database):
    file = DATABASES["sqlite"]

    def __init__(self) -> None:
        self.path = Path(str(connection.settings_dict["NAME"]))

    @contextmanager
    def dump(self, folder: Path, *, for_blocks: bool = False) -> Iterator[DumpedState]:
        """VACUUM INTO copies within one read transaction and leaves no gaps. For blocks the pages stay where they are:
        the backup API in a single step, which is one read transaction too (in several it would start again whenever
        somebody writes).
        """
        target = folder / self.file
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=20)) as source:
            if for_blocks:
                with closing(sqlite3.connect(target)) as copy:
                    source.backup(copy, pages=-1)
                    copy.execute("PRAGMA journal_mode=DELETE")  # one file, with no log beside it
            else:
                source.execute("VACUUM INTO ?", [str(target)])
        with closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            faults = copy.execute("PRAGMA integrity_check").fetchone()[0]
            if faults != "ok":
                raise Unavailable(f"The database is damaged: {faults}", code="database_damaged")
            yield DumpedState(copy.cursor())

    def is_empty(self) -> bool:
        return not self.path.exists()

    def load(self, folder: Path) -> None:
        connection.close()
        staged = self.path.with_name(f"{self.path.name}.restoring")
        shutil.copyfile(folder / self.file, staged)
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.rename(self.path)


class Postgres(Database):
    file = DATABASES["postgresql"]

    def environment(self) -> dict[str, str]:
        """Where libpq's programs find the database; in the environment, since an argument shows in a process list."""
        about = connection.settings_dict
        settings_by_variable = {
            "PGHOST": "HOST",
            "PGPORT": "PORT",
            "PGUSER": "USER",
            "PGPASSWORD": "PASSWORD",
            "PGDATABASE": "NAME",
        }
        variables = {variable: str(about[key]) for variable, key in settings_by_variable.items() if about.get(key)}
        options = about.get("OPTIONS", {})
        more = {variable: str(options[key]) for key, variable in OPTIONS.items() if options.get(key)}
        return {"PATH": os.environ.get("PATH", os.defpath), **variables, **more}

    def run(self, *command: str) -> None:
        try:
            done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise Unavailable(
                f"{command[0]} is not installed here.",
                code="program_missing",
                hint="Install PostgreSQL's client programs, of the server's version or newer.",
            ) from None
        if done.returncode:
            raise Unavailable(f"{command[0]} failed: {done.stderr.strip()[-500:]}", code="program_failed")

    @contextmanager
    def dump(self, folder: Path, *, for_blocks: bool = False) -> Iterator[DumpedState]:
        """pg_dump and we look at the same exported snapshot, which lives as long as this transaction."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]
            flags = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
            if for_blocks:
                flags.append("--compress=0")  # compressed, one changed row changes everything behind it
            self.run("pg_dump", *flags, f"--file={folder / self.file}")
            yield DumpedState(cursor)

    def is_empty(self) -> bool:
        with connection.cursor() as cursor:
            return not connection.introspection.table_names(cursor)

    def load(self, folder: Path) -> None:
        connection.close()
        # --dbname makes pg_restore connect at all; which one, PGDATABASE says.
        name = str(connection.settings_dict["NAME"])
        flags = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", f"--dbname={name}")
        self.run("pg_restore", *flags, str(folder / self.file))


def get_database() -> Database:
    """The plane's own."""
    return Sqlite() if connection.vendor == "sqlite" else Postgres()
