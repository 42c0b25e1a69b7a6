"""Taking a backup, of a running plane or one that stands still.

The database first, as of one moment, then every object that it names: objects are written before their rows and
never removed, so all that the dump names is in the store afterwards, whatever else has come in meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.fleet.releases.key_storage import list_key_files
from apps.platform.artifacts.services import report_damage
from apps.platform.artifacts.store import Store
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.checkpoints import read_checkpoints
from apps.platform.audit.services import record
from apps.platform.audit.verifier.verify import canonical
from apps.site.snapshots.databases import Database, get_database
from apps.site.snapshots.layout import (
    CHECKPOINTS,
    SUMS,
    Manifest,
    get_object_path,
    hash_file,
    list_files,
    read_manifest,
)

KEYS = ("keys/audit_ed25519.pem", "keys/audit_ed25519.pub.pem", "keys/snapshot.key", "secret.key")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Taken:
    folder: Path
    manifest: Manifest
    linked: int


def create_backup(*, actor: Actor, out: Path, since: Path | None = None, say: Say = lambda _: None) -> Taken:
    """Back the plane up into `out`, which must not exist; with `since` objects of that backup are linked, not copied.

    The folder appears under its name only when it is whole. Objects that the store no longer has whole are named in
    the manifest. Raises Conflict, Invalid, Unavailable.
    """
    policy.require(actor, "plane.backup")
    if out.exists():
        raise Conflict(f"{out} exists already.", code="exists", field="FOLDER", hint="Name a folder that does not.")
    if since is not None:
        read_manifest(since)
    staging = out.with_name(f".{out.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    try:
        result = write(staging, since, get_database(), say)
        sync(staging)
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    manifest, linked = result
    for digest in manifest.missing:
        report_damage(actor=actor, digest=digest, reason="A backup found other bytes in its place, or none.")
    with transaction.atomic():
        record(
            actor=actor,
            action="plane.backup",
            object_type="backup",
            object_id=str(out)[-200:],
            after={"artifacts": manifest.artifacts, "bytes": manifest.artifact_bytes, "missing": len(manifest.missing)},
            digests={"sums": hash_file(out / SUMS)},
        )
    return Taken(out, manifest, linked)


def write(folder: Path, since: Path | None, source: Database, say: Say) -> tuple[Manifest, int]:
    """All files of the backup; the manifest, and how many objects were linked."""
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    with source.dump(folder) as snapshot:
        artifacts, migrations, audit = snapshot.artifacts(), snapshot.migrations(), snapshot.audit()
    say(f"The database as of {made_at}; {len(artifacts)} objects to come.")
    copy_keys(folder)
    copy_checkpoints(folder, audit.get("seq", 0))
    single = [source.file, *list_files(folder, "keys"), *list_files(folder, "checkpoints")]
    sums = [(hash_file(folder / name), name) for name in single]
    missing, linked, size = [], 0, 0
    at = get_store()
    for digest, expected, _damaged in artifacts:
        target = get_object_path(folder, digest)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if since is not None and link(get_object_path(since, digest), target, expected):
            linked += 1
        elif not copy_object(at, digest, target):
            at.check()  # a store that is away as a whole makes no backup
            missing.append(digest)
            continue
        size += expected
        sums.append((digest, str(target.relative_to(folder))))
    present = len(artifacts) - len(missing)
    manifest = Manifest(made_at, connection.vendor, migrations, audit, present, size, missing)
    manifest.write(folder)
    sums.append((hash_file(folder / "manifest.json"), "manifest.json"))
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for digest, name in sums))
    return manifest, linked


def copy_keys(folder: Path) -> None:
    """The keys that this home holds, among them those of releases."""
    releases = sorted(str(path.relative_to(settings.PLANE_HOME)) for path in list_key_files())
    for name in (*KEYS, *releases):
        copy_key(Path(settings.PLANE_HOME) / name, folder / "keys" / Path(name).name)


def copy_key(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(exist_ok=True, mode=0o700)
        shutil.copyfile(source, target)
        target.chmod(0o600)


def copy_checkpoints(folder: Path, until: int) -> None:
    """The checkpoints up to the end of the dumped trail: a later one would say that its tail was cut."""
    covered = [checkpoint for checkpoint in read_checkpoints() if checkpoint.get("seq", 0) <= until]
    if covered:
        (folder / "checkpoints").mkdir(mode=0o700)
        (folder / CHECKPOINTS).write_text("".join(f"{canonical(checkpoint)}\n" for checkpoint in covered))
        (folder / CHECKPOINTS).chmod(0o600)


def copy_object(at: Store, digest: str, target: Path) -> bool:
    """Stream an object out of the store; False where its bytes are not those of its name, or are gone."""
    sha256 = hashlib.sha256()
    try:
        with target.open("wb") as out:
            for chunk in at.open(digest):
                sha256.update(chunk)
                out.write(chunk)
    except FileNotFoundError:
        target.unlink(missing_ok=True)
        return False
    if sha256.hexdigest() == digest:
        target.chmod(0o400)
        return True
    target.unlink()
    return False


def link(source: Path, target: Path, size: int) -> bool:
    """Take an object over from an earlier backup, if that has it and lies on the same disk."""
    try:
        if source.stat().st_size != size:
            return False
        os.link(source, target)
    except OSError:
        return False
    return True


def sync(folder: Path) -> None:
    """Everything on the disk before the name says that it is a backup."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
