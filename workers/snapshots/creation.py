"""Writing a snapshot: the database as of one moment, every object that it names, and a look at all that is new."""

from __future__ import annotations

import json
import os
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from pydantic import SecretStr

from apps.core.actors import Actor
from apps.platform.artifacts.services import report_damage
from apps.platform.artifacts.stores import get_store
from apps.platform.nodes.models import Node
from apps.site.snapshots.backup import copy_checkpoints, copy_keys
from apps.site.snapshots.databases import get_database
from apps.site.snapshots.environments.queries import list_current_documents
from apps.site.snapshots.layout import MANIFEST, Manifest, iter_file
from apps.site.snapshots.models import SnapshotOperation
from apps.site.snapshots.services import record_stored, trim_snapshots
from apps.site.snapshots.sources import RECORDS
from apps.site.snapshots.states import SnapshotState
from apps.site.transfer.identity import get_identity
from deepseek.messages import N_
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.repository import Entry, Repository, SnapshotIndex
from workers.snapshots.progress import Progress
from workers.snapshots.survey import RepositorySurvey, adopt_strangers, survey_repository
from workers.snapshots.workplace import open_folder


def create_snapshot(
    actor: Actor, operation: SnapshotOperation, repository: Repository, progress: Progress
) -> dict[str, Any]:
    """Write the snapshot of the operation, read back what is new, and queue the removal of what is past retention."""
    if operation.snapshot.state != SnapshotState.PENDING:  # by an attempt that died before it ended the operation
        trim_snapshots(actor=actor, destination=operation.destination, keep=settings.ENV.snapshot_keep)
        return {"missing": len(operation.snapshot.missing)}
    began, snapshot_id = time.monotonic(), os.urandom(16).hex()
    with repository.storage.lock(), open_workplace() as folder:
        repository.storage.sweep()
        token = f"{operation.pk} {operation.created_at.isoformat()}"
        former = remove_own_attempt(repository, token)
        manifest, index, total_bytes = write_objects(repository, folder, progress)
        entry = repository.add_index(index)
        digests = set(repository.iter_needed(entry, index)) - former.digests
        verify_written(repository, digests, progress)
        about = {"made_at": manifest.made_at, "artifacts": manifest.artifacts, "total_bytes": total_bytes}
        progress.confirm()
        repository.commit(snapshot_id, entry, {**about, "operation": token, "plane": get_identity().id})
    record_stored(
        actor=actor,
        snapshot=operation.snapshot,
        name=snapshot_id,
        repository_id=repository.repository_id,
        manifest=manifest,
        total_bytes=total_bytes,
        added_objects=repository.added_objects,
        added_bytes=repository.added_bytes,
        seconds=time.monotonic() - began,
    )
    for digest in manifest.missing:
        report_damage(actor=actor, digest=digest, reason="A snapshot found other bytes in its place, or none.")
    adopt_strangers(actor, repository, operation.destination, former)
    trim_snapshots(actor=actor, destination=operation.destination, keep=settings.ENV.snapshot_keep)
    return {"missing": len(manifest.missing), "verified_objects": len(digests)}


def remove_own_attempt(repository: Repository, token: str) -> RepositorySurvey:
    """What lies in the repository, of which what earlier snapshots name was read back when it came.

    A snapshot of this very operation is of an attempt that died before the plane knew of it, and is removed.
    """
    survey = survey_repository(repository)
    own = [record for record in survey.records if record.about.get("operation") == token]
    for record in own:
        repository.remove_snapshot(record.snapshot_id)
    return replace(survey, records=tuple(record for record in survey.records if record not in own))


def open_workplace() -> AbstractContextManager[Path]:
    """A private folder for the dump and for copies of keys."""
    return open_folder(Path(settings.PLANE_HOME) / "snapshot", "work-")


def write_objects(repository: Repository, folder: Path, progress: Progress) -> tuple[Manifest, SnapshotIndex, int]:
    """Store everything of the plane; the manifest, where it lies, and its bytes."""
    source = get_database()
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    progress.enter("database")
    with source.dump(folder, for_blocks=True) as state:
        artifacts, migrations, audit = state.artifacts(), state.migrations(), state.audit()
    copy_keys(folder)
    copy_checkpoints(folder, audit.get("seq", 0))
    write_records(folder / RECORDS)
    stored, missing = store_artifacts(repository, artifacts, progress)
    size = sum(size for _digest, size in stored)
    manifest = Manifest(made_at, connection.vendor, migrations, audit, len(stored), size, missing)
    manifest.write(folder)
    progress.enter("files")
    files: dict[str, Entry] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        files[str(path.relative_to(folder))] = repository.add_file(progress.watch(iter_file(path)))
    lines = (f"{digest} {size}\n".encode() for digest, size in stored)
    index = SnapshotIndex(files, repository.add_file(lines))
    assert MANIFEST in files  # noqa: S101
    return manifest, index, size + sum(entry.size for entry in files.values())


def store_artifacts(
    repository: Repository, artifacts: list[tuple[str, int, bool]], progress: Progress
) -> tuple[list[tuple[str, int]], list[str]]:
    """(digest, size) of what lies in the repository now, and the digests of what the store no longer has whole.

    Raises Unavailable where the store is not there.
    """
    store, stored, missing = get_store(), [], []
    progress.enter("artifacts", sum(size for _digest, size, _damaged in artifacts))
    for digest, size, _damaged in artifacts:
        if repository.add_object(digest, partial(store.open, digest)):
            stored.append((digest, size))
        else:
            store.check()  # one that is away as a whole makes no snapshot, and damages nothing
            missing.append(digest)
        progress.add(size)
    return stored, missing


def verify_written(repository: Repository, digests: set[str], progress: Progress) -> None:
    """Read back what is new; SnapshotError where it is not what was written, which is taken away."""
    progress.enter("verification")
    damaged = repository.verify_objects(sorted(digests), progress.add)
    for digest in damaged:
        repository.discard_object(digest)
    if damaged:
        raise SnapshotError(
            "snapshot_not_verified",
            "{count} objects were not read back as they were written.",
            count=len(damaged),
            field="repository",
            hint=N_("Check the disk or the store of the destination, and create the snapshot again."),
        )


def write_records(folder: Path) -> None:
    """Configuration and environments, for people: what a new plane has to be set up like. No secret is in them."""
    folder.mkdir(mode=0o700)
    write_json(folder / "configuration.json", describe_configuration())
    nodes = Node.objects.order_by("name").values(
        "name", "host", "queues", "cpus", "memory_bytes", "disk_bytes", "gpus", "extras", "hardware", "labels"
    )
    write_json(folder / "nodes.json", list(nodes))
    write_json(folder / "environments.json", list_current_documents())


def describe_configuration() -> dict[str, Any]:
    """The settings of this process by name. Of a secret only whether it is set; no password of an address."""
    described: dict[str, Any] = {}
    for name in type(settings.ENV).model_fields:
        value = getattr(settings.ENV, name)
        values = value if isinstance(value, list) else [value]
        is_secret = any(isinstance(each, SecretStr) for each in values) or name == "release_pkcs11_uri"
        if is_secret:
            value = "set" if any(values) else ""
        described[name.upper()] = hide_passwords(value)
    return described


def hide_passwords(value: Any) -> Any:
    if isinstance(value, list):
        return [hide_passwords(each) for each in value]
    return hide_password(value) if isinstance(value, str) else value


def hide_password(address: str) -> str:
    """The address without what stands between its scheme and its host; also where a character there is not escaped."""
    before, slashes, rest = address.partition("//")
    return f"{before}//***@{rest.rpartition('@')[2]}" if slashes and "@" in rest else address


def write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, sort_keys=True, default=str) + "\n")
    path.chmod(0o600)
