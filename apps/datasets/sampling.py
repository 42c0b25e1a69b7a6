"""What cleaning would change on the first rows of a table: the engine itself is asked, in a child process with limits.

The web process imports no engine. It copies the head of the table into a file that has no name, starts the engine's
command line on it with an environment built from nothing, and reads one JSON document. docs/adr/0008 says why here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.cache import caches
from django.utils.connection import ConnectionProxy
from django.utils.translation import gettext as _

from apps.artifacts.models import Artifact
from apps.artifacts.services import Damaged
from apps.artifacts.store import store
from apps.canonical import digest_of
from apps.jobs.specs import spec_text
from deepseek.clean.spec import CleanSpec

log = logging.getLogger(__name__)

ROWS = 2000
HEAD_BYTES = 16 * 2**20  # of a table, at most
INDEX_BYTES = 8 * 2**20  # at the end of a Parquet file, at most
SECONDS = 15
MEMORY_BYTES = 3 * 2**30  # of addresses: libraries reserve far more than they touch
ANSWER_BYTES = 16 * 2**20
AT_ONCE = 2  # children of this process
WAITS_SECONDS = 4.0
KEPT_SECONDS = 600
KEPT_BYTES = 1 << 20  # of an answer; a larger one is asked for anew
MAGIC = b"PAR1"
CHILD = Path(__file__).with_name("bounded_child.py")

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
    text = spec_text(spec)
    asked = {"table": table.digest, "spec": text, "rows": rows}
    if second is not None:
        asked["second"] = second.digest
    key = f"clean-sample:{digest_of(asked)}"
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
    try:
        reading = store().open(table.digest, start, end)
    except FileNotFoundError:
        raise Damaged(table.digest) from None
    file.seek(start)
    for chunk in reading:
        file.write(chunk)
    file.flush()


def index_size(table: Artifact) -> int:
    """Bytes of the index at the end of a Parquet file, as its last eight bytes say, within reason."""
    end = b"".join(store().open(table.digest, table.size - 8, table.size))
    return min(int.from_bytes(end[:4], "little") + 8, INDEX_BYTES) if end[4:] == MAGIC else 8


def run_child(table: IO[bytes], spec: str, rows: int, second: IO[bytes] | None = None) -> Told:
    """Ask the engine's command line; the child has ended when this returns, whatever happened."""
    limits = (SECONDS, MEMORY_BYTES, HEAD_BYTES + INDEX_BYTES)
    words = ["clean", f"/dev/fd/{table.fileno()}", "--explain", "--json", "--spec", "/dev/stdin"]
    words += ["--sample", str(rows), "--head-bytes", str(HEAD_BYTES)]
    words += ["--join", f"/dev/fd/{second.fileno()}"] if second else []
    child = subprocess.Popen(
        [sys.executable, "-I", str(CHILD), *map(str, limits), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(table.fileno(), *([second.fileno()] if second else [])),
        cwd="/",
        env=environment(),
        start_new_session=True,
    )
    try:
        out, said = child.communicate(spec.encode(), timeout=SECONDS + 1)
    except subprocess.TimeoutExpired:
        return too_long()
    finally:
        end(child)
    return told_by(child.returncode, out, said)


def environment() -> dict[str, str]:
    """Built from nothing: no secret of the web process, no proxy gets through; one thread, and nothing to write to."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "TMPDIR": str(settings.FILE_UPLOAD_TEMP_DIR),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        **{name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ},
    }


def end(child: subprocess.Popen[bytes]) -> None:
    """KILL its whole group and reap it; harmless when it has ended by itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def told_by(code: int, out: bytes, said: bytes) -> Told:
    """What the child's exit and its answer mean."""
    if code in (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL):
        return too_long()
    try:
        answer = json.loads(out) if len(out) <= ANSWER_BYTES else None
    except ValueError:
        answer = None
    if code == 0 and isinstance(answer, dict):
        return Told(answer, size=len(out))
    if code == 2 and isinstance(answer, dict) and answer.get("errors"):
        return Told(errors=answer["errors"], size=len(out))
    lines = said.decode(errors="replace").strip().splitlines()
    log.warning("the engine gave no sample (exit %s): %s", code, " ".join(lines[-3:])[:500])
    if any("MemoryError" in line for line in lines):
        return Told(note=_("The first rows take more memory than a look ahead may have. The job itself may take more."))
    return Told(note=_("The engine could not look at the table on this machine; the log of the web process says why."))


def too_long() -> Told:
    return Told(note=_("To look at the first rows took longer than %(count)d s, and was stopped.") % {"count": SECONDS})
