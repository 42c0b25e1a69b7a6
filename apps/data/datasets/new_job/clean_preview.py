"""What cleaning would change on the first rows of a table: the engine itself is asked, in a child process with limits.

It copies the head of the table into a file that has no name, has the engine look at it (bounded_process.py),
and reads one JSON document. docs/adr/0008 says why here.
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

ROWS = 2000
HEAD_BYTES = 16 * 2**20  # of a table, at most
INDEX_BYTES = 8 * 2**20  # at the end of a Parquet file, at most
SECONDS = 15
MEMORY_BYTES = 3 * 2**30  # of addresses: libraries reserve far more than they touch
AT_ONCE = 2  # children of this process
WAITS_SECONDS = 4.0
KEPT_SECONDS = 600
KEPT_BYTES = 1 << 20  # of an answer; a larger one is asked for anew
MAGIC = b"PAR1"

cache = ConnectionProxy(caches, "samples")  # this process's own: the shared one holds locks and rate limits
slots = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Told:
    """The engine's document; or errors of the spec or table, each with its field; or a note why there is neither."""

    document: Mapping[str, Any] | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    size: int = field(default=0, compare=False)  # of the answer, in bytes


def ask(table: Artifact, spec: CleanSpec, *, rows: int = ROWS, second: Artifact | None = None) -> Told:
    """What `spec` would change in the first rows of `table`; the same question is answered from the cache for a while.

    `second` is the table that a plan joins, of which the head is looked at too. The caller has made sure that both may
    be seen. Raises Damaged where the store has lost one.
    """
    text = serialize_spec(spec)
    asked = {"table": table.digest, "spec": text, "rows": rows}
    if second is not None:
        asked["second"] = second.digest
    key = f"clean-sample:{compute_digest(asked)}"
    kept = cache.get(key)
    if kept is not None:
        return Told(kept.get("document"), kept.get("errors", []))
    if not slots.acquire(timeout=WAITS_SECONDS):
        return Told(note=_("Others are looking ahead right now. Ask again in a moment."))
    try:
        with head_of(table) as file:
            if second is None:
                told = run_child(file, text, rows)
            else:
                with head_of(second) as other:
                    told = run_child(file, text, rows, other)
    finally:
        slots.release()
    if not told.note and told.size <= KEPT_BYTES:
        cache.set(key, {"document": told.document, "errors": told.errors}, KEPT_SECONDS)
    return told


@contextmanager
def head_of(table: Artifact) -> Iterator[IO[bytes]]:
    """A file without a name that holds the beginning of the table, and of a Parquet file its index at the same place.

    One byte more than the engine is to look at, so that it sees that there is more.
    """
    with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
        copy(table, file, 0, min(table.size, HEAD_BYTES + 1))
        if table.size > HEAD_BYTES + 1 and os.pread(file.fileno(), 4, 0) == MAGIC:
            begins = table.size - index_size(table)
            file.truncate(table.size)  # what lies between is a hole, and takes no room
            copy(table, file, max(begins, HEAD_BYTES + 1), table.size)
        yield file


def copy(table: Artifact, file: IO[bytes], start: int, end: int) -> None:
    file.seek(start)
    with closing(open_verified(table, start, end)) as reading:
        for chunk in reading:
            file.write(chunk)
    file.flush()


def index_size(table: Artifact) -> int:
    """Bytes of the index at the end of a Parquet file, as its last eight bytes say, within reason."""
    end = read_verified(table, table.size - 8, table.size)
    return min(int.from_bytes(end[:4], "little") + 8, INDEX_BYTES) if end[4:] == MAGIC else 8


def run_child(table: IO[bytes], spec: str, rows: int, second: IO[bytes] | None = None) -> Told:
    """Ask the engine's command line; the child has ended when this returns, whatever happened."""
    words = ["clean", bounded_process.path_of(table), "--explain", "--json", "--spec", "/dev/stdin"]
    words += ["--sample", str(rows), "--head-bytes", str(HEAD_BYTES)]
    words += ["--join", bounded_process.path_of(second)] if second else []
    limits = bounded_process.Limits(SECONDS, MEMORY_BYTES, HEAD_BYTES + INDEX_BYTES)
    answer = bounded_process.ask(words, spec, table, *([second] if second else []), limits=limits)
    match answer.fault:
        case bounded_process.Fault.TIME:
            return too_long()
        case bounded_process.Fault.MEMORY:
            note = _("The first rows take more memory than a look ahead may have. The job itself may take more.")
            return Told(note=note)
        case bounded_process.Fault.FAILED:
            note = _("The engine could not look at the table on this machine; the log of the web process says why.")
            return Told(note=note)
    return Told(answer.document, answer.errors, size=answer.size)


def too_long() -> Told:
    return Told(note=_("To look at the first rows took longer than %(count)d s, and was stopped.") % {"count": SECONDS})
