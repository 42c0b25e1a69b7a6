"""The restore drill: a snapshot becomes a plane beside this one, which is tried and thrown away.

It runs in a process of its own with an environment built from nothing: another home, another database, a folder as its
store and as its broker, no hosts to send to. Nothing of the running plane is within its reach but the repository.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Unavailable
from apps.site.snapshots.models import SnapshotOperation
from apps.site.snapshots.services import record_drill
from apps.site.snapshots.states import OperationKind, OperationState
from deepseek.messages import N_
from deepseek.snapshots.repository import Repository
from workers.snapshots.plane_key import get_key_path
from workers.snapshots.process import end_with_parent
from workers.snapshots.progress import Progress
from workers.snapshots.repositories import find_address
from workers.snapshots.workplace import open_folder

log = logging.getLogger(__name__)

PASSED_ON = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "PYTHONPATH",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "NODE_CPUS",
    "NODE_MEMORY_BYTES",
    "ISOLATION",
)
SPARE = 1.1  # of the snapshot's bytes that have to be free
POLL_SECONDS = 0.5


def run_drill(actor: Actor, operation: SnapshotOperation, repository: Repository, progress: Progress) -> dict[str, Any]:
    """Restore the snapshot into a plane of its own and try it; the figures. Raises PlaneError."""
    snapshot, began = operation.snapshot, time.monotonic()
    rpo = (datetime.now(UTC) - snapshot.made_at).total_seconds() if snapshot.made_at else 0.0
    figures: dict[str, Any] = {"rpo_seconds": round(rpo, 1), "snapshot": snapshot.name}
    try:
        with open_home(snapshot.total_bytes) as home, open_database(operation.pk) as database_url:
            progress.enter("restore", snapshot.total_bytes)
            figures |= restore_and_try(snapshot.name, operation.destination, home, database_url, progress)
    except (PlaneError, OSError, ValueError) as failure:  # a full disk is a drill that failed, too
        figures["rto_seconds"] = round(time.monotonic() - began, 1)
        error = failure.code if isinstance(failure, PlaneError) else type(failure).__name__
        record_drill(actor=actor, snapshot=snapshot, passed=False, figures={**figures, "error": error})
        raise
    figures["rto_seconds"] = round(time.monotonic() - began, 1)
    record_drill(actor=actor, snapshot=snapshot, passed=True, figures=figures)
    return figures


@contextmanager
def open_home(size: int) -> Iterator[Path]:
    """An empty home on a disk with room for the snapshot."""
    place = Path(settings.ENV.snapshot_drill_folder or Path(settings.PLANE_HOME) / "drill")
    with open_folder(place, "plane-drill-") as folder:
        free = shutil.disk_usage(place).free
        if free < size * SPARE:
            raise Unavailable(
                "The drill needs {needed} bytes, and its disk has {free} free.",
                needed=int(size * SPARE),
                free=free,
                code="drill_no_room",
                field="SNAPSHOT_DRILL_FOLDER",
                hint=N_("Name a folder on a larger disk in SNAPSHOT_DRILL_FOLDER."),
            )
        yield folder


@contextmanager
def open_database(number: int) -> Iterator[str]:
    """The address of an empty database: SQLite in the home, or one beside the plane's on its server."""
    if connection.vendor == "sqlite":
        yield ""
        return
    name = f"{build_scratch_prefix()}{number}"
    try:
        drop_database(name)  # of an attempt that was killed
        run_statement(f'CREATE DATABASE "{name}"')
    except DatabaseError as failure:
        raise Unavailable(
            "The drill cannot create a database on this server: {why}.",
            why=str(failure).strip().partition("\n")[0][:200],
            code="drill_no_database",
            field="DATABASE_URL",
            hint=N_("Let the role of the plane create databases: ALTER ROLE ... CREATEDB."),
        ) from None
    try:
        yield urlsplit(settings.ENV.database)._replace(path=f"/{name}").geturl()
    finally:
        with suppress(DatabaseError):
            drop_database(name)


def build_scratch_prefix() -> str:
    """What the names of this plane's scratch databases begin with: a server may hold the databases of many planes."""
    digest = hashlib.sha256(str(connection.settings_dict["NAME"]).encode()).hexdigest()
    return f"restore_drill_{digest[:8]}_"


def drop_abandoned_databases() -> list[str]:
    """Drop the scratch databases of drills whose process was killed; their names. One that cannot be dropped is logged
    and stays for the next time."""
    if connection.vendor == "sqlite":
        return []
    prefix = build_scratch_prefix()
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY datname", [prefix])
        names = [str(name) for (name,) in cursor.fetchall()]
    running = SnapshotOperation.objects.filter(kind=OperationKind.DRILL, state=OperationState.RUNNING)
    in_use = {f"{prefix}{pk}" for pk in running.values_list("pk", flat=True)} if names else set()
    dropped = []
    for name in names:
        if name in in_use:
            continue
        try:
            drop_database(name)
        except DatabaseError as failure:
            log.warning("the scratch database %s of a restore drill: %s", name, failure)
        else:
            dropped.append(name)
    return dropped


def drop_database(name: str) -> None:
    run_statement(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def run_statement(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def restore_and_try(name: str, destination: str, home: Path, database_url: str, progress: Progress) -> dict[str, Any]:
    """Run the restore with its smoke test in a process of its own; what it prints. Raises PlaneError."""
    secrets = {
        "DATABASE_URL": database_url,
        "SNAPSHOT_S3_SECRET_KEY": settings.ENV.snapshot_s3_secret_key.get_secret_value(),
        "PLANE_KEY": get_key_path().read_text(),
    }
    environment, descriptors = build_environment(home, secrets)
    command = [sys.executable, "-m", "controlplane", "snapshot", "restore", name, "--from", find_address(destination)]
    command += ["--plane-key-file", environment.pop("PLANE_KEY_FILE"), "--smoke-test", "--json"]
    with (home / "output").open("w+b") as output, (home / "errors").open("w+b") as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment,
                pass_fds=descriptors,
                preexec_fn=partial(end_with_parent, os.getpid()),
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        wait(process, progress)
        output.seek(0)
        errors.seek(0)
        lines, text = output.read().decode(errors="replace").splitlines(), errors.read().decode(errors="replace")
    if process.returncode:
        reason = (text.strip().splitlines() or [f"exit status {process.returncode}"])[-1][:500]
        raise PlaneError("The restored plane failed: {why}", why=reason, code="drill_failed", field="snapshot")
    return dict(json.loads(lines[-1]))


def wait(process: subprocess.Popen[bytes], progress: Progress) -> None:
    """Until it ends; with this process or a lost operation it ends too."""
    try:
        while process.poll() is None:
            progress.check()
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def build_environment(home: Path, secrets: Mapping[str, str]) -> tuple[dict[str, str], list[int]]:
    """The environment, with secrets in memory that has no name, and the descriptors that lead to them."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {
        "PLANE_HOME": str(home / "home"),
        "NODE_NAME": "restore-drill",
        "ENDPOINT_PORTS": "",
        "SNAPSHOT_S3_ENDPOINT": settings.ENV.snapshot_s3_endpoint,
        "SNAPSHOT_S3_ACCESS_KEY": settings.ENV.snapshot_s3_access_key,
        "SCRIPT_SANDBOX": settings.ENV.script_sandbox,
    }
    descriptors = []
    for name, secret in secrets.items():
        if secret:
            descriptor = os.memfd_create(name.lower())
            os.write(descriptor, secret.encode())
            descriptors.append(descriptor)
            environment[f"{name}_FILE"] = f"/dev/fd/{descriptor}"
    return environment, descriptors
