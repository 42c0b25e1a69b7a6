"""Inspect the Parquet parts of a table during a request: only the end of each file is read, by a bounded child.

The footer of a Parquet file tells its columns and rows; whether the rows can be read, the job that measures the version
finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from apps.core.errors import Invalid
from apps.data.datasets import bounded_process
from apps.data.datasets.ingest.csv_inspection import wait_for_reader_slot
from apps.data.datasets.versions.manifest import StoredBytes, VersionFile
from apps.platform.artifacts.verification import read_verified
from apps.platform.jobs.models import SLOT_LIMIT
from deepseek.messages import N_, Message, restore_message
from deepseek.tables.part_manifest import encode_frame

MODULE = "deepseek.tables.part_footers"
MAGIC = b"PAR1"
TRAILER_BYTES = 8  # the length of the metadata, and MAGIC
TAIL_BYTES = 64 * 1024  # read at once: most footers lie in them
MAX_FOOTER_BYTES = 16 * 2**20
MAX_PARTS = 10_000
MAX_PATH = SLOT_LIMIT - len("before/")  # of a part as the input of a job
LIMITS = bounded_process.ProcessLimits(30, 2 * 2**30, 0)


@dataclass(frozen=True, slots=True)
class PartsInspection:
    """The columns that every part has, and how many rows each has, by its path."""

    columns: list[dict[str, str]]
    rows: Mapping[str, int]

    @property
    def total_rows(self) -> int:
        return sum(self.rows.values())


ReadRange = Callable[[str, str, int, int], bytes]
"""The bytes of the file with this path and digest, from one place to another"""


def read_stored_range(_path: str, digest: str, start: int, end: int) -> bytes:
    return read_verified(digest, start, end)


def inspect_parts(files: Sequence[VersionFile], read_range: ReadRange = read_stored_range) -> PartsInspection:
    """Compare the columns of the parts of one table, and count their rows. Call it in no transaction.

    `read_range`: from where, if not from the artifact store. Raises Invalid naming the part, and where its columns
    differ the column and both types; Unavailable where others wait already.
    """
    parts = sorted(files, key=lambda file: file[0])
    refuse_many_parts(parts)
    if not connection.in_atomic_block:
        connection.close()  # the reads must not keep one of the pool's connections
    with wait_for_reader_slot():
        frames = iter_frames(parts, read_range)
        answer = bounded_process.stream_to_module(MODULE, (), frames, limits=LIMITS)
    if answer.errors:
        raise convert_part_error(answer.errors[0], files)
    if answer.document is None:
        raise Invalid(
            "The footers of the {count} Parquet files could not be read within {seconds} s and {most} MiB.",
            count=len(parts),
            seconds=LIMITS.seconds,
            most=LIMITS.memory >> 20,
            code="parts_unread",
            field="files",
            limit=f"{LIMITS.seconds} s",
            hint=N_("Send fewer, larger parts."),
        )
    rows = dict(zip((path for path, _, _ in parts), answer.document["rows"], strict=True))
    return PartsInspection(list(answer.document["columns"]), rows)


def refuse_many_parts(parts: Sequence[VersionFile]) -> None:
    if len(parts) > MAX_PARTS:
        raise Invalid(
            "A table of {count:,} parts.",
            count=len(parts),
            code="too_many_parts",
            field="files",
            limit=f"{MAX_PARTS} parts",
            hint=N_("Send fewer, larger parts."),
        )
    path = next((path for path, _, _ in parts if len(path) > MAX_PATH), None)
    if path is not None:
        raise Invalid(
            "The path of the part {path} has {count} characters.",
            path=path[:60],
            count=len(path),
            code="bad_path",
            field="files",
            limit=f"{MAX_PATH} characters",
            hint=N_("Shorten it."),
        )


def iter_frames(parts: Sequence[VersionFile], read_range: ReadRange) -> Iterator[bytes]:
    for path, artifact, _ in parts:
        yield encode_frame(path, read_footer(path, artifact, read_range))


def read_footer(path: str, artifact: StoredBytes, read_range: ReadRange) -> bytes:
    """The end of the file from the metadata of its footer on. Raises Invalid for a file that is cut short, Damaged."""
    size = artifact.size
    tail = read_range(path, artifact.digest, max(0, size - TAIL_BYTES), size) if size else b""
    length = int.from_bytes(tail[-TRAILER_BYTES:-4], "little") + TRAILER_BYTES
    if size < 2 * TRAILER_BYTES or tail[-4:] != MAGIC or length > size:
        raise build_cut_error(path)
    if length > MAX_FOOTER_BYTES:
        raise Invalid(
            "The footer of the part {path} has {count:,} bytes.",
            path=path,
            count=length,
            code="broken_parquet",
            field="files",
            limit=f"{MAX_FOOTER_BYTES} bytes",
            hint=N_("Write it with fewer columns or larger row groups."),
        )
    return tail[-length:] if length <= len(tail) else read_range(path, artifact.digest, size - length, size)


def build_cut_error(path: str) -> Invalid:
    return Invalid(
        "The part {part} does not end as a Parquet file does.",
        part=path,
        code="broken_parquet",
        field="files",
        limit=Message("a whole Parquet file"),
        hint=N_("The file may be cut short; copy it again and compare its SHA-256."),
    )


def convert_part_error(error: Mapping[str, Any], files: Sequence[VersionFile]) -> Invalid:
    """Convert an error of the engine into one about the file of the request that it names."""
    places = {path: place for place, (path, _, _) in enumerate(files)}
    place = places.get(str(error["value"]))
    field = "files" if place is None else f"/files/{place}"
    hint = restore_message(error, "hint") or None
    return Invalid(restore_message(error), field=field, code=error["code"], limit=error["limit"], hint=hint)
