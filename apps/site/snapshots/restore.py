"""The way back: an empty home and an empty database become the plane of a backup.

The objects come first and the database last: a restore that breaks off leaves a database that is empty, and running
it again goes on. Every byte is checked against the sums of the backup, the trail against its own chain.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.fleet.devices.services import skip_issued_numbers
from apps.fleet.releases.services import skip_issued_sequences
from apps.platform.artifacts.store import Store
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record
from apps.platform.audit.verification import Verification, verify_trail
from apps.site.snapshots.databases import get_database
from apps.site.snapshots.layout import DATABASES, SUMS, Manifest, hash_file, iter_file
from apps.site.snapshots.services import fail_restored_operations
from apps.site.snapshots.sources import RECORDS, BackupSource, FolderSource

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    manifest: Manifest
    trail: Verification
    present: int


def restore(
    *,
    actor: Actor,
    source: Path | BackupSource,
    make_folders: Callable[[], None],
    migrate: Callable[[], None],
    say: Say = lambda _: None,
) -> Restored:
    """Make this plane, which must be empty, the one of the backup. Raises Conflict, Invalid, Unavailable.

    `make_folders` makes those of the home, and `migrate` brings the tables of a loaded database up to date.
    """
    policy.require(actor, "plane.restore")
    if isinstance(source, Path):
        source = FolderSource(source)
    manifest, sums = source.manifest, source.sums
    target = get_database()
    check(source.folder, manifest, sums)
    target.require_empty()
    own = {name: digest for name, digest in sums.items() if name.startswith(("keys/", "checkpoints/", RECORDS))}
    require_nothing_lost(own)
    make_folders()
    present = 0
    for name, digest in sums.items():
        if name.startswith("artifacts/"):
            present += store_object(get_store(), partial(source.read_object, digest), digest)
    say(f"{manifest.artifacts} objects are in the store, {present} of them were already.")
    for name in own:
        put_file(source.folder / name, get_home_path(name))
    target.load(source.folder)
    migrate()
    trail = verify_restored_trail(actor, manifest)
    with transaction.atomic():
        skip_issued_numbers(actor=actor)
        skip_issued_sequences(actor=actor)
        fail_restored_operations(actor=actor)
        record(
            actor=actor,
            action="plane.restore",
            object_type="backup",
            object_id=source.label[-200:],
            after={"made_at": manifest.made_at, "artifacts": manifest.artifacts, "sealed": trail.sealed},
            digests={"sums": source.digest},
        )
    return Restored(manifest, trail, present)


def check(source: Path, manifest: Manifest, sums: dict[str, str]) -> None:
    """Everything of the backup but its objects, which are checked as they are stored; Invalid names what is wrong."""
    if manifest.vendor != connection.vendor:
        raise Invalid(
            f"The backup is of {manifest.vendor}, and DATABASE_URL names {connection.vendor}.",
            field="DATABASE_URL",
            hint="Restore into a database of the same kind.",
        )
    migrations_on_disk = set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)
    newer = [name for name in manifest.migrations if tuple(name.split(".", 1)) not in migrations_on_disk]
    if newer:
        raise Invalid(
            f"The backup was made by a newer version: migration {newer[0]} is not known here.",
            field="FOLDER",
            hint="Install the version that made it, restore, and then change the version.",
        )
    listed = {DATABASES[manifest.vendor], "manifest.json"}
    if not listed <= set(sums):
        raise Invalid(f"{SUMS} does not list {sorted(listed - set(sums))[0]}.", field="FOLDER")
    for name, digest in sums.items():
        if not name.startswith("artifacts/") and (not (source / name).is_file() or hash_file(source / name) != digest):
            raise build_damage_error(name)
    if sum(name.startswith("artifacts/") for name in sums) != manifest.artifacts:
        raise Invalid(f"{SUMS} does not list {manifest.artifacts} objects.", field="FOLDER")


def build_damage_error(name: str) -> Invalid:
    return Invalid(
        f"{name} is not what it was when the backup was made, or is gone.",
        code="backup_damaged",
        field="FOLDER",
        hint="Take another backup; `sha256sum --check SHA256SUMS` lists everything that is wrong with this one.",
    )


def get_home_path(name: str) -> Path:
    """Where a key or the checkpoints of the backup belong in the home."""
    if name.startswith(RECORDS):
        name = f"restored/{name.removeprefix(RECORDS)}"
    return Path(settings.PLANE_HOME) / ("secret.key" if name == "keys/secret.key" else name)


def require_nothing_lost(own: dict[str, str]) -> None:
    """A key that signs something else already must not be lost. secret.key is made anew by every start."""
    for name, digest in own.items():
        target = get_home_path(name)
        if (
            target.name != "secret.key"
            and not name.startswith(RECORDS)
            and target.exists()
            and hash_file(target) != digest
        ):
            raise Conflict(
                f"{target} is another file than that of the backup.",
                code="not_empty",
                hint="Name an empty PLANE_HOME, or put that file away first.",
            )


def put_file(path: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True, mode=0o700)
    staged = target.with_name(f".{target.name}.restoring")
    shutil.copyfile(path, staged)
    staged.chmod(0o600)
    staged.rename(target)


def put_object(at: Store, path: Path, digest: str) -> bool:
    """Store an object that lies in a file; True where it was there already, read whole and found right."""
    return store_object(at, partial(iter_file, path), digest)


def store_object(at: Store, read: Callable[[], Iterable[bytes]], digest: str) -> bool:
    """Store an object of the backup; True where it was there already, read whole and found right."""
    try:
        if at.verify(digest):
            return True
        at.set_aside(digest)
    except FileNotFoundError:
        pass
    try:
        with at.open_staging(digest) as staging:
            for chunk in read():
                staging.write(chunk)
            if staging.digest != digest:
                raise build_damage_error(f"artifacts/{digest}")
            staging.publish(digest)
    except FileNotFoundError:
        raise build_damage_error(f"artifacts/{digest}") from None
    return False


def verify_restored_trail(actor: Actor, manifest: Manifest) -> Verification:
    """The trail is whole and reaches as far as it did; Invalid otherwise."""
    trail = verify_trail(actor=actor)
    if not trail.whole:
        raise Invalid(f"The audit trail of the backup is broken: {trail.finding}", code="trail_broken", field="FOLDER")
    if trail.sealed < manifest.audit.get("seq", 0):
        finding = f"ends at record {trail.sealed}, that of the backup at {manifest.audit['seq']}"
        raise Invalid(f"The audit trail {finding}.", code="trail_broken", field="FOLDER")
    return trail
