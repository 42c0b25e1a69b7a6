"""Ingest local files as a version of a dataset: each file is read once and hashed while it is stored.

Nothing is registered before all bytes are in the store and durable; then every row is written in one transaction. A
killed ingest leaves no version, only its staging folder or objects that the next ingest reuses.
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
from apps.data.datasets.ingest.folder_scan import FolderFile, list_folder_files
from apps.data.datasets.ingest.image_folders import ImageTable, build_image_table
from apps.data.datasets.ingest.image_headers import SUFFIXES, read_image_header
from apps.data.datasets.ingest.parts_inspection import PartsInspection, inspect_parts
from apps.data.datasets.ingest.scan_index import IndexedFile, ScanIndex
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality.expectation_gate import check_expectations
from apps.data.datasets.quality.profile_jobs import measure_added
from apps.data.datasets.versions.legacy_paths import LegacyPaths
from apps.data.datasets.versions.manifest import (
    VersionFile,
    choose_media_type,
    guess_media_type,
    is_table_of_parts,
    parse_digests,
)
from apps.data.datasets.versions.registration import add_version, check_name, check_text, ensure_dataset
from apps.platform.accounts.models import Project
from apps.platform.artifacts.bulk_sql import Stored, find_incomplete_digests, hold_many, split_into_batches
from apps.platform.artifacts.intake import About, Intake, Mode, ReadFile, build_changed_error, opened
from apps.platform.artifacts.local_store import LocalStore
from apps.platform.artifacts.services import list_damaged_digests
from apps.platform.artifacts.store import CHUNK, Store
from apps.platform.artifacts.stores import get_store
from deepseek.messages import N_

READER_THREADS = 4  # hashing and system calls leave the interpreter free; more than the disk serves at once is no gain
FILES_PER_BATCH = 32  # files that a thread takes before it comes back
MODES = ("copy", "link")
CACHE_KIB = 32_000  # of the database, for the one transaction that writes all rows

UNKNOWN_STATE = About(0, 0, 0, 0, 0)  # may have changed since, within one tick of the clock: read again next time

ProgressCallback = Callable[[int, int], None]
"""Called with files done and files in all, now and then"""


@dataclass(slots=True)
class IngestResult:
    """The result of an ingest: counts of files, bytes of the version, bytes read."""

    version: DatasetVersion
    is_new: bool
    files: int = 0
    bytes: int = 0
    read: int = 0
    bytes_read: int = 0
    linked: int = 0
    stored_before: int = 0
    not_linked: dict[Path, str] = field(default_factory=dict)
    images: ImageTable | None = None
    not_parts: str = ""  # why these Parquet files are not the parts of one table


@dataclass(slots=True)
class FolderScan:
    """The files of this ingest: those that an earlier ingest has read, and those still to read."""

    root: Path
    files: list[FolderFile]
    indexed: dict[str, IndexedFile]
    removed: list[str]

    @property
    def unread(self) -> list[FolderFile]:
        return [file for file in self.files if file.path not in self.indexed]


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
    report_progress: ProgressCallback | None = None,
) -> IngestResult:
    """Add the file or folder `path` as a version; the same files again are the same version.

    `mode` "link": the store's objects are further names of these very files, which become read-only; what cannot be
    linked is copied, and `not_linked` says why. `images`: a folder of images; a table of them, images.csv, joins the
    version (image_folders.py). Raises Invalid or Conflict naming the path that is wrong; then nothing is registered.
    """
    policy.require(actor, "dataset.add_version", project)
    policy.require(actor, "artifact.take_in", project)
    check_name(dataset_name)
    check_text("note", note)
    artifact_store = get_store()
    check_mode(mode, artifact_store)
    root = Path(os.path.abspath(path))
    index = ScanIndex(Path(settings.PLANE_HOME))
    with pause_garbage_collection():
        scan = scan_folder(list_folder_files(root, LegacyPaths(project.pk, dataset_name)), root, index, artifact_store)
        if not connection.in_atomic_block:
            connection.close()  # minutes of reading must not keep one of the pool's connections
        result = IngestResult(DatasetVersion(), False, len(scan.files))
        with ThreadPoolExecutor(READER_THREADS) as threads:
            fresh, hashed, table = store_unread_files(
                artifact_store, scan, mode, images, durable, result, threads, report_progress
            )
        indexed = scan.indexed | fresh
        stored = [build_stored_file(file.path, indexed[file.path], hashed.get(file.path)) for file in scan.files]
        stored += [table] if table else []
        rows = [(file.name, file, file.media_type) for file in stored]
        parts = inspect_local_parts(scan, rows, result)
        checked = check_expectations(actor, project, dataset_name, rows)
        expand_database_cache()
        with transaction.atomic():
            cited = find_newest_digests(project, dataset_name) if scan.indexed else set()
            new_files = [
                file for file in stored if file.name in fresh or file.digest not in cited
            ]  # what was read may heal
            hold_many(actor=actor, project=project, stored=new_files)
            result.version, result.is_new = add_version(
                actor=actor,
                dataset=ensure_dataset(actor=actor, project=project, name=dataset_name),
                files=rows,
                media_type=choose_media_type(rows),
                rows=result.images.rows if result.images else parts.total_rows if parts else None,
                columns=result.images.columns if result.images else parts.columns if parts else [],
                script="ingest",
                params={"images": result.images.params} if result.images else {},
                note=note,
                checked=checked,
                part_rows=parts.rows if parts else None,
            )
            if result.is_new:
                measure_added(actor=actor, version=result.version)
        result.bytes = result.version.size
        index.save(root, {path: file for path, file in fresh.items() if file.about.inode}, scan.removed)
    return result


def inspect_local_parts(scan: FolderScan, rows: Sequence[VersionFile], result: IngestResult) -> PartsInspection | None:
    """What several Parquet files are as one table. None for other files, and where they are tables of their own, which
    may be what a folder holds: `result.not_parts` says how they differ."""
    if not is_table_of_parts(rows):
        return None
    local = {file.path: file.file for file in scan.files}

    def read_range(path: str, _digest: str, start: int, end: int) -> bytes:
        with open(local[path], "rb") as file:
            return os.pread(file.fileno(), end - start, start)

    try:
        return inspect_parts(rows, read_range)
    except (Invalid, OSError) as error:
        result.not_parts = str(error)
        return None


def expand_database_cache() -> None:
    """Give SQLite a larger page cache: a version of many files must not spill to disk within its transaction."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Pause Python's cyclic garbage collector: the hundred thousand values of a scan have no cycles, and going through
    them again and again took a quarter of the time of a second scan.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def scan_folder(files: list[FolderFile], root: Path, index: ScanIndex, artifact_store: Store) -> FolderScan:
    """Split the files into known and unread. A file is known if it is unchanged and the store still has its bytes."""
    index_entries = index.load(root)
    unchanged = {
        file.path: index_entries[file.path]
        for file in files
        if file.path in index_entries and index_entries[file.path].about == file.about
    }
    sizes = {entry.digest: entry.about.size for entry in unchanged.values()}
    lost = find_incomplete_digests(sizes) | artifact_store.lacking(sizes) if sizes else set()
    paths = {file.path for file in files}
    return FolderScan(
        root,
        files,
        {path: entry for path, entry in unchanged.items() if entry.digest not in lost},
        [path for path in index_entries if path not in paths],
    )


def find_newest_digests(project: Project, dataset_name: str) -> set[str]:
    """The digests of the newest version, which cannot be deleted before this transaction ends.

    What it cites its project holds, and that is no garbage: of a folder that hardly changes, few rows are written.
    """
    dataset = Dataset.objects.filter(project=project, name=dataset_name).first()
    versions = DatasetVersion.objects.filter(dataset=dataset, deleted_at=None).order_by("-number")
    newest = versions.select_for_update().first() if dataset else None
    return parse_digests(newest.manifest) if newest else set()


def store_unread_files(
    artifact_store: Store,
    scan: FolderScan,
    mode: Mode,
    images: bool,
    durable: bool,
    result: IngestResult,
    threads: ThreadPoolExecutor,
    report_progress: ProgressCallback | None,
) -> tuple[dict[str, IndexedFile], dict[str, ReadFile], Stored | None]:
    """Store every unread file; return its index entries, what was stored, and the image table."""
    unread = scan.unread
    if isinstance(artifact_store, LocalStore):
        with Intake(artifact_store, mode=mode, durable=durable, damaged=list_damaged_digests()) as intake:
            stored = store_in_threads(
                unread, lambda file: intake.take(file.file, file.real), threads, result, report_progress
            )
            intake.finish()
            result.not_linked = intake.not_linked
    else:
        is_damaged = list_damaged_digests().__contains__  # no query in the threads: nobody closes their connections
        stored = store_in_threads(
            unread, lambda file: store_remotely(artifact_store, file, is_damaged), threads, result, report_progress
        )
    fresh = {
        path: IndexedFile(file.about or UNKNOWN_STATE._replace(size=file.size), file.digest, facts_json)
        for path, (file, facts_json) in stored.items()
    }
    hashed = {path: file for path, (file, _) in stored.items()}
    return fresh, hashed, store_image_table(artifact_store, scan, fresh, result) if images else None


def store_in_threads(
    files: Sequence[FolderFile],
    take: Callable[[FolderFile], ReadFile],
    threads: ThreadPoolExecutor,
    result: IngestResult,
    report_progress: ProgressCallback | None,
) -> dict[str, tuple[ReadFile, str]]:
    """Store the files in worker threads; the first error stops all, once the running batches have ended."""

    def store_batch(batch: list[FolderFile]) -> list[tuple[str, ReadFile, str]]:
        rows = []
        for file in batch:
            stored = take(file)
            rows.append((file.path, stored, describe_image(file.path, stored)))
            stored.head = stored.tail = b""  # of ten thousand files they would fill the memory
        return rows

    fresh: dict[str, tuple[ReadFile, str]] = {}
    try:
        for rows in threads.map(store_batch, split_into_batches(files, FILES_PER_BATCH)):
            for path, stored, facts_json in rows:
                fresh[path] = stored, facts_json
                result.read += 1
                result.bytes_read += stored.size
                result.linked += stored.linked
                result.stored_before += stored.was_there
            if report_progress:
                report_progress(len(fresh), len(files))
    except BaseException:
        threads.shutdown(cancel_futures=True)
        raise
    return fresh


def store_remotely(artifact_store: Store, file: FolderFile, is_damaged: Callable[[str], bool]) -> ReadFile:
    """Store one file in a remote store."""
    with opened(file.file, file.real) as fd, artifact_store.open_staging() as staging:
        before = os.fstat(fd)
        head = tail = b""
        while chunk := os.read(fd, CHUNK):
            staging.write(chunk)
            head, tail = head or chunk[: 64 << 10], (tail + chunk[-64:])[-64:]
        if (before.st_size, before.st_mtime_ns) != (os.fstat(fd).st_size, os.fstat(fd).st_mtime_ns):
            raise build_changed_error(Path(file.file))
        staging.publish(is_damaged=is_damaged)
    stored = staging.stored
    about = About.of(before)
    return ReadFile(stored.digest, stored.size, head, tail, about, chunks=stored.chunks, replaced=stored.replaced)


def describe_image(path: str, stored: ReadFile) -> str:
    """The image header of a file as JSON; "" if it is not an image."""
    header = read_image_header(stored.head, stored.tail)
    if header is None and not path.lower().endswith(SUFFIXES):
        return ""
    return json.dumps(asdict(header) if header else {"media_type": "", "whole": False})


def build_stored_file(path: str, entry: IndexedFile, taken: ReadFile | None) -> Stored:
    """`taken`: what this ingest has read of the file; None where an earlier one did."""
    media_type = (entry.facts.get("media_type") if entry.facts_json else "") or guess_media_type(path)
    if taken is None:
        return Stored(entry.digest, entry.about.size, path, media_type)
    return Stored(entry.digest, entry.about.size, path, media_type, taken.chunks, taken.replaced)


def store_image_table(
    artifact_store: Store, scan: FolderScan, fresh: dict[str, IndexedFile], result: IngestResult
) -> Stored:
    """Store the table of the images as one more file of the version."""
    result.images = build_image_table([(file.path, (scan.indexed | fresh)[file.path]) for file in scan.files])
    with artifact_store.open_staging() as staging:
        staging.write(result.images.table)
        digest, size = staging.publish()
    return Stored(digest, size, result.images.path, "text/csv")


def check_mode(mode: str, artifact_store: Store) -> None:
    if mode not in MODES or (mode == "link" and not isinstance(artifact_store, LocalStore)):
        raise Invalid(
            "The mode {mode!r} is not possible here.",
            mode=mode,
            code="bad_mode",
            field="--mode",
            limit="copy, or link where the store is a folder that is not encrypted",
            hint=N_("Use --mode copy."),
        )
