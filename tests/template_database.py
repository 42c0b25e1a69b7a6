"""One migrated template for all test processes: a copy takes milliseconds, the migrations take five.

The template outlives the run, in PLANE_HOME or in PostgreSQL; its name holds a digest of the migrations.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

ROOT = Path(__file__).parents[1]
IMPORTS = re.compile(r"^(?:from (apps[\w.]*) import (\w+)|import (apps[\w.]*))", re.M)


def create_test_database() -> None:
    """Point the default connection at a fresh copy of the template, which is made where there is none."""
    name = connection.creation._get_test_db_name()
    if connection.vendor == "sqlite":
        copy_sqlite_template(settings.PLANE_HOME, Path(name))
    else:
        with _lock(settings.PLANE_HOME):
            _copy_postgresql(f"plane_template_{migrations_digest()}", name)
    connect_to(name)


def drop_test_database() -> None:
    """Delete this process's copy; the template stays for the next run."""
    name = str(connection.settings_dict["NAME"])
    connections.close_all()
    if connection.vendor == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)
        return
    connection.close_pool()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def migrations_digest() -> str:
    """16 hex digits over every migration, the modules of ours that they import, and the pinned packages."""
    files = {
        ROOT / "constraints.txt",
        *ROOT.glob("apps/**/migrations/*.py"),
        *ROOT.glob("controlplane/**/migrations/*.py"),
    }
    for migration in list(files):
        for module, name, plain in IMPORTS.findall(migration.read_text()):
            path = ROOT / (plain or module).replace(".", "/")
            files |= {found for found in (path.with_suffix(".py"), path / f"{name}.py") if found.is_file()}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _migrate_into(name: str) -> None:
    """Migrate the empty database `name`, on the default connection."""
    connect_to(name)
    call_command("migrate", verbosity=0, interactive=False)
    call_command("createcachetable", verbosity=0)
    connections.close_all()


def copy_sqlite_template(folder: Path, target: Path) -> None:
    """Copy the template that `folder` keeps to `target`; the first caller makes it, which moves its connection."""
    template = folder / f"test-template-{migrations_digest()}.sqlite3"
    with _lock(folder):
        _make_sqlite_template(template)
    for suffix in ("-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(template, target)


def _make_sqlite_template(template: Path) -> None:
    if not template.exists():
        draft = template.with_suffix(".draft")
        for left in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            left.unlink(missing_ok=True)
        _migrate_into(str(draft))  # the last connection to close takes the write-ahead log into the file
        draft.rename(template)


def _copy_postgresql(template: str, target: str) -> None:
    _drop_pool()
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template])
        if cursor.fetchone() is None:
            draft = f"{template}_draft"
            cursor.execute(f'DROP DATABASE IF EXISTS "{draft}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{draft}"')
            _migrate_into(draft)
            _drop_pool()
            cursor.execute(f'ALTER DATABASE "{draft}" RENAME TO "{template}"')
        cursor.execute(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{target}" TEMPLATE "{template}"')


def connect_to(name: str) -> None:
    """Point the default connection at this database."""
    connections.close_all()
    _drop_pool()
    if connection.vendor == "sqlite":
        options = connection.settings_dict["OPTIONS"]
        options["init_command"] = options["init_command"].replace("synchronous=NORMAL", "synchronous=OFF")
    connection.settings_dict["NAME"] = name
    connections.settings["default"]["NAME"] = name


def _drop_pool() -> None:
    """Let go of PostgreSQL's pooled connections: a database that has any can be neither copied nor renamed."""
    if connection.vendor == "postgresql":
        connection.close()
        connection.close_pool()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One test process at a time."""
    with (folder / "test-template.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
