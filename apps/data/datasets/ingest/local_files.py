"""Files of this machine into a version of a dataset: read once, hashed as they are stored, registered together.

Nothing is registered before all bytes are in the store and durable; then every row is written in one transaction. What
a killed ingest leaves is in no version: its folder in staging, or objects that the next ingest finds again.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.data.datasets.ingest.folder_scan import Listed, listed
from apps.data.datasets.ingest.image_folders import Images, described
from apps.data.datasets.ingest.image_headers import SUFFIXES, image_head
from apps.data.datasets.ingest.scan_index import ScanIndex, Seen
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality.expectation_gate import check_expected
from apps.data.datasets.quality.profile_jobs import measure_added
from apps.data.datasets.services import add_version, check_name, check_text, ensure_dataset
from apps.data.datasets.versions.legacy_paths import OldPaths
from apps.data.datasets.versions.manifest import digests_in, type_of_files, type_of_path
from apps.platform.accounts.models import Project
from apps.platform.artifacts.bulk_sql import Stored, batches, hold_many, not_whole_among
from apps.platform.artifacts.intake import About, Intake, Mode, Taken, changed, opened
from apps.platform.artifacts.local_store import LocalStore
from apps.platform.artifacts.services import marked_damaged
from apps.platform.artifacts.store import CHUNK, Store
from apps.platform.artifacts.stores import store
from deepseek.messages import N_

THREADS = 4  # hashing and system calls leave the interpreter free; more than the disk serves at once is no gain
TOGETHER = 32  # files that a thread takes before it comes back
MODES = ("copy", "link")
CACHE_KIB = 32_000  # of the database, for the one transaction that writes all rows

UNSURE = About(0, 0, 0, 0, 0)  # may have changed since, within one tick of the clock: read again next time

Say = Callable[[int, int], None]
"""Called with files done and files in all, now and then"""


@dataclass(slots=True)
class Ingested:
    """What an ingest did; files counted, bytes of the version and of what was read."""

    version: DatasetVersion
    is_new: bool
    files: int = 0
    bytes: int = 0
    read: int = 0
    bytes_read: int = 0
    linked: int = 0
    stored_before: int = 0
    not_linked: dict[Path, str] = field(default_factory=dict)
    images: Images | None = None


@dataclass(slots=True)
class Scan:
    """The files of this ingest: those an earlier one has read, and those to read now."""

    root: Path
    files: list[Listed]
    seen: dict[str, Seen]
    gone: list[str]

    @property
    def unread(self) -> list[Listed]:
        return [one for one in self.files if one.path not in self.seen]


def ingest(
    *,
    actor: Actor,
    project: Project,
    dataset_name: str,
    path: Path,
    mode: Mode = "copy",
    note: str = "",
    images: bool = False,
    durable: bool = True,
    say: Say | None = None,
) -> Ingested:
    """Make a version of the file or folder `path`, or find it: the same files again are the same version.

    `mode` "link": the store's objects are further names of these very files, which become read-only; what cannot be
    linked is copied, and `not_linked` says why. `images`: a folder of images; a table of them, images.csv, joins the
    version (image_folders.py). Raises Invalid or Conflict naming the path that is wrong; then nothing is registered.
    """
    policy.require(actor, "dataset.add_version", project)
    policy.require(actor, "artifact.take_in", project)
    check_name(dataset_name)
    check_text("note", note)
    at = store()
    check_mode(mode, at)
    root = Path(os.path.abspath(path))
    index = ScanIndex(Path(settings.PLANE_HOME))
    with nothing_collected():
        scan = scanned(listed(root, OldPaths(project.pk, dataset_name)), root, index, at)
        if not connection.in_atomic_block:
            connection.close()  # minutes of reading must not keep one of the pool's connections
        done = Ingested(DatasetVersion(), False, len(scan.files))
        with ThreadPoolExecutor(THREADS) as threads:
            fresh, hashed, table = taken_in(at, scan, mode, images, durable, done, threads, say)
        seen = scan.seen | fresh
        stored = [stored_of(one.path, seen[one.path], hashed.get(one.path)) for one in scan.files]
        stored += [table] if table else []
        rows = [(one.name, one, one.media_type) for one in stored]
        checked = check_expected(project, dataset_name, rows)
        enlarge_cache()
        with transaction.atomic():
            cited = cited_by_newest(project, dataset_name) if scan.seen else set()
            came = [one for one in stored if one.name in fresh or one.digest not in cited]  # what was read may heal
            hold_many(actor=actor, project=project, stored=came)
            done.version, done.is_new = add_version(
                actor=actor,
                dataset=ensure_dataset(actor=actor, project=project, name=dataset_name),
                files=rows,
                media_type=type_of_files(rows),
                rows=done.images.rows if done.images else None,
                columns=done.images.columns if done.images else [],
                script="ingest",
                params={"images": done.images.params} if done.images else {},
                note=note,
                checked=checked,
            )
            if done.is_new:
                measure_added(actor=actor, version=done.version)
        done.bytes = done.version.size
        index.save(root, {path: one for path, one in fresh.items() if one.about.inode}, scan.gone)
    return done


def enlarge_cache() -> None:
    """More memory for SQLite, else the pages that a version of many files touches go to disk and come back."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Without Python's search for cycles: there are none among the hundred thousand values of a scan, all of which it
    would go through again and again, and through the whole plane's as well; that took a quarter of a second scan.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def scanned(files: list[Listed], root: Path, index: ScanIndex, at: Store) -> Scan:
    """What there is to do. A file is known where it did not change, and the store still has its bytes whole."""
    before = index.load(root)
    same = {one.path: before[one.path] for one in files if one.path in before and before[one.path].about == one.about}
    sizes = {seen.digest: seen.about.size for seen in same.values()}
    gone = not_whole_among(sizes) | at.lacking(sizes) if sizes else set()
    paths = {one.path for one in files}
    return Scan(
        root,
        files,
        {path: seen for path, seen in same.items() if seen.digest not in gone},
        [path for path in before if path not in paths],
    )


def cited_by_newest(project: Project, dataset_name: str) -> set[str]:
    """The digests of the newest version, which cannot be deleted before this transaction ends.

    What it cites its project holds, and that is no garbage: of a folder that hardly changes, few rows are written.
    """
    dataset = Dataset.objects.filter(project=project, name=dataset_name).first()
    there = DatasetVersion.objects.filter(dataset=dataset, deleted_at=None).order_by("-number")
    newest = there.select_for_update().first() if dataset else None
    return digests_in(newest.manifest) if newest else set()


def taken_in(
    at: Store,
    scan: Scan,
    mode: Mode,
    images: bool,
    durable: bool,
    done: Ingested,
    threads: ThreadPoolExecutor,
    say: Say | None,
) -> tuple[dict[str, Seen], dict[str, Taken], Stored | None]:
    """The bytes of every unread file into the store; what was seen of them, what was read, the table of the images."""
    unread = scan.unread
    if isinstance(at, LocalStore):
        with Intake(at, mode=mode, durable=durable, damaged=marked_damaged()) as intake:
            taken = read_all(unread, lambda one: intake.take(one.file, one.real), threads, done, say)
            intake.finish()
            done.not_linked = intake.not_linked
    else:
        is_damaged = marked_damaged().__contains__  # no query in the threads: nobody closes their connections
        taken = read_all(unread, lambda one: take_remote(at, one, is_damaged), threads, done, say)
    fresh = {
        path: Seen(one.about or UNSURE._replace(size=one.size), one.digest, told) for path, (one, told) in taken.items()
    }
    hashed = {path: one for path, (one, _) in taken.items()}
    return fresh, hashed, put_table(at, scan, fresh, done) if images else None


def read_all(
    files: Sequence[Listed],
    take: Callable[[Listed], Taken],
    threads: ThreadPoolExecutor,
    done: Ingested,
    say: Say | None,
) -> dict[str, tuple[Taken, str]]:
    """Each file taken by one of the threads; the first fault ends it all, once those that are at work have ended."""

    def part(some: list[Listed]) -> list[tuple[str, Taken, str]]:
        found = []
        for one in some:
            taken = take(one)
            found.append((one.path, taken, told_of(one.path, taken)))
            taken.head = taken.tail = b""  # of ten thousand files they would fill the memory
        return found

    fresh: dict[str, tuple[Taken, str]] = {}
    try:
        for taken in threads.map(part, batches(files, TOGETHER)):
            for path, one, told in taken:
                fresh[path] = one, told
                done.read += 1
                done.bytes_read += one.size
                done.linked += one.linked
                done.stored_before += one.was_there
            if say:
                say(len(fresh), len(files))
    except BaseException:
        threads.shutdown(cancel_futures=True)
        raise
    return fresh


def take_remote(at: Store, one: Listed, is_damaged: Callable[[str], bool]) -> Taken:
    """One file into a store that is no folder."""
    with opened(one.file, one.real) as fd, at.open_staging() as staging:
        before = os.fstat(fd)
        head = tail = b""
        while chunk := os.read(fd, CHUNK):
            staging.write(chunk)
            head, tail = head or chunk[: 64 << 10], (tail + chunk[-64:])[-64:]
        if (before.st_size, before.st_mtime_ns) != (os.fstat(fd).st_size, os.fstat(fd).st_mtime_ns):
            raise changed(Path(one.file))
        staging.publish(is_damaged=is_damaged)
    stored = staging.stored
    about = About.of(before)
    return Taken(stored.digest, stored.size, head, tail, about, chunks=stored.chunks, replaced=stored.replaced)


def told_of(path: str, taken: Taken) -> str:
    """What the file's bytes tell of an image, as JSON; "" of anything else."""
    found = image_head(taken.head, taken.tail)
    if found is None and not path.lower().endswith(SUFFIXES):
        return ""
    return json.dumps(asdict(found) if found else {"media_type": "", "whole": False})


def stored_of(path: str, seen: Seen, taken: Taken | None) -> Stored:
    """`taken`: what this ingest has read of the file; None where an earlier one did."""
    kind = (seen.facts.get("media_type") if seen.told else "") or type_of_path(path)
    if taken is None:
        return Stored(seen.digest, seen.about.size, path, kind)
    return Stored(seen.digest, seen.about.size, path, kind, taken.chunks, taken.replaced)


def put_table(at: Store, scan: Scan, fresh: dict[str, Seen], done: Ingested) -> Stored:
    """The table of the images, stored as one more file of the version."""
    done.images = described([(one.path, (scan.seen | fresh)[one.path]) for one in scan.files])
    with at.open_staging() as staging:
        staging.write(done.images.table)
        digest, size = staging.publish()
    return Stored(digest, size, done.images.path, "text/csv")


def check_mode(mode: str, at: Store) -> None:
    if mode not in MODES or (mode == "link" and not isinstance(at, LocalStore)):
        raise Invalid(
            "The mode {mode!r} is not possible here.",
            mode=mode,
            code="bad_mode",
            field="--mode",
            limit="copy, or link where the store is a folder",
            hint=N_("Use --mode copy."),
        )
