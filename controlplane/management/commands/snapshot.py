"""manage.py snapshot prepare|create|list|verify|restore|remove|drill|work|replace-recovery-key: snapshots."""

from __future__ import annotations

import json
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Invalid, NotFound, PlaneError
from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.audit.services import record
from apps.site.snapshots import queries, services
from apps.site.snapshots.databases import get_database
from apps.site.snapshots.destinations import choose_destination, list_destinations
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.restore import restore
from apps.site.snapshots.states import OPEN_STATES, OperationState
from controlplane.startup_checks import CannotStart, make_folders, ready_database
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.snapshots.errors import DAMAGED, SnapshotError
from deepseek.snapshots.keys import generate_recovery_key, parse_recovery_key
from deepseek.snapshots.repository import Repository, SnapshotRecord
from deepseek.snapshots.storage import FolderStorage, build_read_error
from workers.snapshots.creation import open_workplace
from workers.snapshots.plane_key import ensure_plane_key
from workers.snapshots.repositories import find_address, open_repository, open_storage
from workers.snapshots.runner import run_operation, run_operations
from workers.snapshots.smoke import run_smoke_test
from workers.snapshots.source import RepositorySource

POLL_SECONDS = 1.0
OWN_NAMES = {"lost+found", "lock", "staging"}  # that a folder may hold before it is a repository


class Command(OperatorCommand):
    help = (
        "Snapshots of the plane: incremental, encrypted, in a repository. `prepare` makes one and prints its recovery "
        "key once; SNAPSHOT_DESTINATIONS names where."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        words = parser.add_subparsers(dest="word", required=True)
        prepare = words.add_parser("prepare", help="make a repository, and print its recovery key once")
        prepare.add_argument("--destination", default="")
        prepare.add_argument("--recovery-key-file", type=Path, help="let this plane into a repository that is there")
        rekey = words.add_parser("replace-recovery-key", help="print a new recovery key once, and void the former")
        rekey.add_argument("--destination", default="")
        rekey.add_argument("--recovery-key-file", type=Path, help="the former; without it this plane's own key is used")
        create = words.add_parser("create", help="create a snapshot, and wait for it")
        create.add_argument("--destination", default="")
        listing = words.add_parser("list", help="list the snapshots of a repository")
        self.add_source(listing)
        listing.add_argument("--json", action="store_true")
        for word, sentence in (
            ("verify", "read a snapshot back whole"),
            ("remove", "remove a snapshot and what only it needed"),
            ("drill", "restore a snapshot beside the plane, and try it"),
        ):
            each = words.add_parser(word, help=sentence)
            each.add_argument("snapshot", nargs="?" if word == "drill" else None, default="", help="number or name")
        back = words.add_parser("restore", help="make this plane, which must be empty, the one of a snapshot")
        back.add_argument("snapshot", nargs="?", default="", help="name of a snapshot; none: the newest")
        self.add_source(back)
        back.add_argument("--plane-key-file", type=Path, help="the key of the plane that made it")
        back.add_argument("--smoke-test", action="store_true", help="try the plane afterwards: of a drill")
        back.add_argument("--json", action="store_true")
        words.add_parser("work", help="run what is queued; the dispatcher starts it")

    def add_source(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="source", default="", help="destination, folder or s3://bucket/prefix")
        parser.add_argument("--recovery-key-file", type=Path, help="a file with the recovery key")

    def handle(self, *, word: str, **options: Any) -> None:
        try:
            getattr(self, f"run_{word.replace('-', '_')}")(**options)
        except EngineError as error:
            self.stderr.write(f"{error.message} {error.hint or ''} [{error.code}]".replace("  ", " "))
            sys.exit(error.exit_code)

    # -- repositories -----------------------------------------------------------------------------------------------
    def run_prepare(self, *, destination: str, recovery_key_file: Path | None, **_options: Any) -> None:
        name = choose_destination(destination)
        storage = open_storage(find_address(name))
        if recovery_key_file is not None:
            repository = Repository.open(storage, recovery_key=read_recovery_key(recovery_key_file))
            repository.admit_plane(ensure_plane_key())
            self.record("snapshot.admit", name, repository)
            self.stdout.write(f"This plane can use the repository of {name}.")
            return
        if isinstance(storage, FolderStorage):
            require_empty(storage)
        text, public = generate_recovery_key()
        repository = Repository.create(storage, plane_key=ensure_plane_key(), recovery_public=public)
        self.print_recovery_key(f"Prepared the repository of {name}.", text)
        self.record("snapshot.prepare", name, repository)  # after the key: a database that is away must not cost it

    def run_replace_recovery_key(self, *, destination: str, recovery_key_file: Path | None, **_options: Any) -> None:
        name = choose_destination(destination)
        repository = self.open_source(name, recovery_key_file)
        text, public = generate_recovery_key()
        # Printed first: where that breaks off, for whoever has no other key than the former, that one still opens it.
        self.print_recovery_key(f"The recovery key of {name} is replaced.", text)
        repository.replace_recovery_key(public)
        self.stdout.write(f"The former recovery key of {name} opens it no more.")
        self.record("snapshot.replace_recovery_key", name, repository)

    def print_recovery_key(self, sentence: str, text: str) -> None:
        self.stdout.write(f"{sentence} Its recovery key, which is shown only now:\n\n  {text}\n")
        self.stdout.write("Write it down and keep it away from this plane: without it and without keys/snapshot.key")
        self.stdout.write("of this home, no snapshot can be opened.")
        self.stdout.flush()

    def record(self, action: str, name: str, repository: Repository) -> None:
        record(
            actor=self.actor,
            action=action,
            object_type="snapshotrepository",
            object_id=repository.repository_id,
            after={"destination": name},
        )

    def open_source(
        self, source: str, recovery_key_file: Path | None, plane_key_file: Path | None = None
    ) -> Repository:
        if plane_key_file is not None:
            plane_key = read_plane_key(plane_key_file)
            return Repository.open(open_storage(find_address(source)), plane_key=plane_key)
        key = None if recovery_key_file is None else read_recovery_key(recovery_key_file)
        return open_repository(source, key)

    # -- snapshots --------------------------------------------------------------------------------------------------
    def run_create(self, *, destination: str, **_options: Any) -> None:
        operation = self.run_to_end(services.request_snapshot(actor=self.actor, destination=destination))
        snapshot = operation.snapshot
        snapshot.refresh_from_db()
        self.stdout.write(
            f"{snapshot.name}: {snapshot.artifacts} artifacts, {snapshot.total_bytes:,} bytes, of which"
            f" {snapshot.added_bytes:,} are new in the repository; read back in {snapshot.seconds:.1f} s."
        )
        if missing := operation.result.get("missing"):
            self.stderr.write(f"{missing} artifacts are damaged in the store, and not in the snapshot.")
            sys.exit(1)

    def run_verify(self, *, snapshot: str, **_options: Any) -> None:
        operation = self.run_to_end(services.request_verification(actor=self.actor, snapshot=find_snapshot(snapshot)))
        self.stdout.write(f"Every object is as it was written: {operation.result['objects']} read.")

    def run_remove(self, *, snapshot: str, **_options: Any) -> None:
        operation = self.run_to_end(services.request_removal(actor=self.actor, snapshot=find_snapshot(snapshot)))
        result = operation.result
        self.stdout.write(f"Removed, with {result['objects']} objects ({result['bytes']:,} bytes) that only it needed.")

    def run_drill(self, *, snapshot: str, **_options: Any) -> None:
        chosen = find_snapshot(snapshot) if snapshot else None
        result = self.run_to_end(services.request_drill(actor=self.actor, snapshot=chosen)).result
        self.stdout.write(
            f"Restored and tried in {result['rto_seconds']} s (RTO); the data was {result['rpo_seconds']} s old (RPO)."
            f" {result['sealed']} audit records verified, {result['artifacts']} artifacts hashed, job:"
            f" {result['job'] or 'none, the plane has no project'}."
        )

    def run_work(self, **_options: Any) -> None:
        signal.signal(signal.SIGTERM, exit_on_signal)
        run_operations(build_plane_actor(PlaneRole.DISPATCHER, host=settings.ENV.node))

    def run_to_end(self, operation: SnapshotOperation) -> SnapshotOperation:
        """Run the operation here, or wait until the dispatcher's process has; exits with 1 where it failed."""
        signal.signal(signal.SIGTERM, exit_on_signal)
        actor = build_plane_actor(PlaneRole.OPERATOR, host=settings.ENV.node)
        while operation.state in OPEN_STATES:
            if run_operation(actor, operation.pk) is None:
                services.recover_operations(actor=actor)
                time.sleep(POLL_SECONDS)
            operation.refresh_from_db()
        if operation.state == OperationState.FAILED:
            error = operation.error
            self.stderr.write(f"{error.get('message', '')} {error.get('hint', '')} [{error.get('code', '')}]")
            sys.exit(1)
        return operation

    def run_list(self, *, source: str, recovery_key_file: Path | None, json: bool, **_options: Any) -> None:
        repository = self.open_source(source, recovery_key_file)
        rows = list_rows(repository)
        if json:
            self.stdout.write(dump(rows))
            return
        for row in rows:
            self.stdout.write("  ".join(str(value) for value in row.values()))
        if not rows:
            self.stdout.write("No snapshots yet: `plane snapshot create` makes one.")

    def find_newest(self, repository: Repository) -> SnapshotRecord:
        """The newest snapshot that can be read; those that cannot are named."""
        records, unreadable = read_roots(repository)
        for name in unreadable:
            self.stderr.write(f"The snapshot {name} cannot be read, and is passed over.")
        if not records:
            raise PlaneError("The repository holds no snapshot.", code="snapshot_missing", field="snapshot")
        return max(records, key=lambda each: str(each.about.get("made_at", each.created_at)))

    def run_restore(
        self,
        *,
        snapshot: str,
        source: str,
        recovery_key_file: Path | None,
        plane_key_file: Path | None,
        smoke_test: bool,
        json: bool,
        **_options: Any,
    ) -> None:
        repository = self.open_source(source, recovery_key_file, plane_key_file)
        chosen = repository.read_snapshot(snapshot) if snapshot else self.find_newest(repository)
        try:
            with open_workplace() as folder:
                restored = restore(
                    actor=self.actor,
                    source=RepositorySource(repository, chosen, folder),
                    make_folders=partial(make_folders, settings.ENV),
                    migrate=partial(ready_database, migrate=True),
                    say=self.stderr.write if json else self.stdout.write,
                )
        except CannotStart as reason:
            self.stderr.write(str(reason))
            sys.exit(2)
        result: dict[str, Any] = {"made_at": restored.manifest.made_at, "sealed": restored.trail.sealed}
        if smoke_test:
            result |= run_smoke_test(restored.manifest.missing)
        if json:
            self.stdout.write(dump(result))
            return
        sealed = restored.trail.sealed
        self.stdout.write(
            f"Restored the plane of {restored.manifest.made_at}. Its audit trail is whole: {sealed} records."
        )


def exit_on_signal(number: int, frame: FrameType | None) -> None:
    sys.exit(143)


def require_empty(storage: FolderStorage) -> None:
    """A folder with other files in it is no place for a repository. Raises SnapshotError; a repository may be there,
    or what was left of an attempt to make one."""
    try:
        names = {path.name for path in storage.root.iterdir()}
    except OSError as failure:
        raise build_read_error(failure) from failure
    if "repository.json" not in names and names - OWN_NAMES:
        raise SnapshotError(
            "snapshot_folder_not_empty",
            "The folder holds other files.",
            field="destination",
            limit="an empty folder",
            hint=N_("Name an empty one in SNAPSHOT_DESTINATIONS."),
        )


def read_text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as failure:
        why = failure.strerror if isinstance(failure, OSError) else "it is no text"
        raise Invalid("{path} cannot be read: {why}.", path=str(path), why=str(why), field="key file") from None


def read_recovery_key(path: Path) -> bytes:
    return parse_recovery_key(read_text(path))


def read_plane_key(path: Path) -> bytes:
    try:
        return bytes.fromhex(read_text(path))
    except ValueError:
        raise Invalid(
            "{path} holds no key of a plane.",
            path=str(path),
            field="--plane-key-file",
            limit="64 hex digits",
            hint=N_("It is keys/snapshot.key of the home of that plane."),
        ) from None


def find_snapshot(text: str) -> Snapshot:
    """The snapshot of this number or name. Raises NotFound."""
    snapshots = Snapshot.objects.filter(name=text) if len(text) == 32 else Snapshot.objects.none()
    snapshot = (
        snapshots.first()
        or adopt(text)
        or (Snapshot.objects.filter(pk=int(text)).first() if text.isdecimal() else None)
    )
    if snapshot is None:
        raise NotFound(
            "There is no snapshot {name!r}.",
            name=text[:40],
            field="snapshot",
            hint=N_("`plane snapshot list` shows those that it has."),
        )
    return snapshot


def adopt(name: str) -> Snapshot | None:
    """The snapshot of this name in a repository, known to this database from now on; None if there is none."""
    if len(name) != 32 or not set(name) <= set("0123456789abcdef"):
        return None
    for destination in list_destinations():
        repository = open_repository(destination)
        if name in repository.list_snapshot_ids():
            try:
                about = repository.read_snapshot(name).about
            except SnapshotError as failure:
                if failure.code != DAMAGED:
                    raise
                return services.adopt_unreadable(
                    actor=build_plane_actor(PlaneRole.OPERATOR),
                    destination=destination,
                    name=name,
                    repository_id=repository.repository_id,
                )
            return services.adopt_snapshot(
                actor=build_plane_actor(PlaneRole.OPERATOR),
                destination=destination,
                name=name,
                repository_id=repository.repository_id,
                made_at=about["made_at"],
                artifacts=about["artifacts"],
                total_bytes=about["total_bytes"],
            )
    return None


def list_rows(repository: Repository) -> list[dict[str, Any]]:
    """The snapshots of the repository, oldest first, each with what this plane knows of it; those that cannot be read
    come last."""
    known: dict[str, Snapshot] = {}
    if not get_database().is_empty():  # before a restore there are no tables
        known = {row.name: row for row in queries.list_snapshots(build_plane_actor(PlaneRole.OPERATOR))}
    records, unreadable = read_roots(repository)
    readable = sorted(records, key=lambda each: each.created_at)
    rows = [describe(record.snapshot_id, record.about, known.get(record.snapshot_id)) for record in readable]
    return [*rows, *({**describe(name, {}, known.get(name)), "state": "unreadable"} for name in unreadable)]


def read_roots(repository: Repository) -> tuple[list[SnapshotRecord], list[str]]:
    """The snapshots of the repository, and the names of those whose root is damaged."""
    records, unreadable = [], []
    for name in repository.list_snapshot_ids():
        try:
            records.append(repository.read_snapshot(name))
        except SnapshotError as failure:
            if failure.code != DAMAGED:
                raise
            unreadable.append(name)
    return records, unreadable


def describe(name: str, about: dict[str, Any], row: Snapshot | None) -> dict[str, Any]:
    drilled = getattr(row, "drilled_at", None)
    return {
        "number": row.pk if row else "-",
        "name": name,
        "made_at": about.get("made_at", ""),
        "artifacts": about.get("artifacts", 0),
        "bytes": about.get("total_bytes", 0),
        "state": row.state if row else "of another database",
        "drill": f"{row.drill_state} {drilled:%Y-%m-%d}" if row and drilled else "never tried",  # type: ignore[attr-defined]
    }


def dump(document: Any) -> str:
    return json.dumps(document)
