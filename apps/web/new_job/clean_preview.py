"""Preview of cleaning on the first rows of a table, computed by the engine in a bounded child process.

It copies the head of the table into a file that has no name, has the engine look at it (bounded_process.py),
and reads one JSON document. Rationale: docs/adr/0008.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from django.conf import settings
from django.core.cache import caches
from django.utils.connection import ConnectionProxy
from django.utils.translation import gettext as _

from apps.core.canonical import compute_digest
from apps.data.datasets import bounded_process
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.verification import open_verified, read_verified
from apps.platform.jobs.spec_validation import serialize_spec
from deepseek.clean.spec import CleanSpec

SAMPLE_ROWS = 2000
HEAD_BYTES = 16 * 2**20  # of a table, at most
INDEX_BYTES = 8 * 2**20  # at the end of a Parquet file, at most
SECONDS = 15
MEMORY_BYTES = 3 * 2**30  # of addresses: libraries reserve far more than they touch
MAX_CHILDREN = 2  # children of this process
SLOT_WAIT_SECONDS = 4.0
CACHE_SECONDS = 600
MAX_CACHED_BYTES = 1 << 20  # of an answer; a larger one is asked for anew
MAGIC = b"PAR1"

cache = ConnectionProxy(caches, "samples")  # this process's own: the shared one holds locks and rate limits
slots = threading.BoundedSemaphore(MAX_CHILDREN)


@dataclass(frozen=True, slots=True)
class CleanPreview:
    """The engine's document; or errors of the spec or table, each with its field; or a note why there is neither."""

    document: Mapping[str, Any] | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    size: int = field(default=0, compare=False)  # of the answer, in bytes


def preview_clean(
    table: Artifact, spec: CleanSpec, *, rows: int = SAMPLE_ROWS, second: Artifact | None = None
) -> CleanPreview:
    """What `spec` would change in the first rows of `table`; cached for a while.

    `second` is the table that a plan joins, of which the head is looked at too. The caller has made sure that both may
    be seen. Raises Damaged where the store has lost one.
    """
    text = serialize_spec(spec)
    cache_facts = {"table": table.digest, "spec": text, "rows": rows}
    if second is not None:
        cache_facts["second"] = second.digest
    key = f"clean-sample:{compute_digest(cache_facts)}"
    cached = cache.get(key)
    if cached is not None:
        return CleanPreview(cached.get("document"), cached.get("errors", []))
    if not slots.acquire(timeout=SLOT_WAIT_SECONDS):
        return CleanPreview(note=_("Others are looking ahead right now. Ask again in a moment."))
    try:
        with copy_head(table) as file:
            if second is None:
                preview = run_child(file, text, rows)
            else:
                with copy_head(second) as second_file:
                    preview = run_child(file, text, rows, second_file)
    finally:
        slots.release()
    if not preview.note and preview.size <= MAX_CACHED_BYTES:
        cache.set(key, {"document": preview.document, "errors": preview.errors}, CACHE_SECONDS)
    return preview


@contextmanager
def copy_head(table: Artifact) -> Iterator[IO[bytes]]:
    """A file without a name that holds the beginning of the table, and of a Parquet file its index at the same place.

    One byte more than the engine is to look at, so that it sees that there is more.
    """
    with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
        copy_range(table, file, 0, min(table.size, HEAD_BYTES + 1))
        if table.size > HEAD_BYTES + 1 and os.pread(file.fileno(), 4, 0) == MAGIC:
            begins = table.size - read_index_size(table)
            file.truncate(table.size)  # what lies between is a hole, and takes no room
            copy_range(table, file, max(begins, HEAD_BYTES + 1), table.size)
        yield file


def copy_range(table: Artifact, file: IO[bytes], start: int, end: int) -> None:
    file.seek(start)
    with closing(open_verified(table, start, end)) as reading:
        for chunk in reading:
            file.write(chunk)
    file.flush()


def read_index_size(table: Artifact) -> int:
    """Bytes of the index at the end of a Parquet file, as its last eight bytes say, within reason."""
    end = read_verified(table, table.size - 8, table.size)
    return min(int.from_bytes(end[:4], "little") + 8, INDEX_BYTES) if end[4:] == MAGIC else 8


def run_child(table: IO[bytes], spec: str, rows: int, second: IO[bytes] | None = None) -> CleanPreview:
    """Ask the engine's command line; the child has ended when this returns, whatever happened."""
    args = ["clean", bounded_process.get_child_path(table), "--explain", "--json", "--spec", "/dev/stdin"]
    args += ["--sample", str(rows), "--head-bytes", str(HEAD_BYTES)]
    args += ["--join", bounded_process.get_child_path(second)] if second else []
    limits = bounded_process.ProcessLimits(SECONDS, MEMORY_BYTES, HEAD_BYTES + INDEX_BYTES)
    answer = bounded_process.run_engine(args, spec, table, *([second] if second else []), limits=limits)
    match answer.fault:
        case bounded_process.ProcessFault.TIME:
            return build_timeout_preview()
        case bounded_process.ProcessFault.MEMORY:
            note = _("The first rows take more memory than a look ahead may have. The job itself may take more.")
            return CleanPreview(note=note)
        case bounded_process.ProcessFault.FAILED:
            note = _("The engine could not look at the table on this machine; the log of the web process says why.")
            return CleanPreview(note=note)
    return CleanPreview(answer.document, answer.errors, size=answer.size)


def build_timeout_preview() -> CleanPreview:
    return CleanPreview(
        note=_("To look at the first rows took longer than %(count)d s, and was stopped.") % {"count": SECONDS}
    )
