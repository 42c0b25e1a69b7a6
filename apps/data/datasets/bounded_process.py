"""The engine's command line asked by the web process: a child under limits, that is given open files and answers JSON.

The web process imports no engine. The child's environment is built from nothing, and it has ended when `ask` returns,
whatever happened. docs/adr/0008 says why here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from apps.core.errors import Unavailable

log = logging.getLogger(__name__)

ANSWER_BYTES = 16 * 2**20
ENGINE = "deepseek.cli"
CHILD = Path(__file__).with_name("bounded_child.py")


@dataclass(frozen=True, slots=True)
class Limits:
    seconds: int
    memory: int  # bytes of addresses: libraries reserve far more than they touch
    written: int  # bytes of a file


class Fault(Enum):
    """Why there is no answer."""

    TIME = "time"
    MEMORY = "memory"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """The engine's document; or errors of the spec or table, each with its field; or why there is neither."""

    document: Mapping[str, Any] | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    fault: Fault | None = None
    size: int = 0  # of the answer, in bytes


@contextmanager
def take_slot(slots: threading.BoundedSemaphore, seconds: float, busy: Unavailable) -> Iterator[None]:
    """One of the slots for children of this process; raises `busy` where none gets free within so many seconds."""
    if not slots.acquire(timeout=seconds):
        raise busy
    try:
        yield
    finally:
        slots.release()


def ask(words: Sequence[str], spec: str, *files: IO[bytes], limits: Limits) -> Answer:
    """What the engine says to these words, which name `files` by `path_of`; the spec is its standard input."""
    child = start(ENGINE, words, limits, files)
    try:
        out, said = child.communicate(spec.encode(), timeout=limits.seconds + 1)
    except subprocess.TimeoutExpired:
        return Answer(fault=Fault.TIME)
    finally:
        end(child)
    return answer_of(child.returncode, out, said)


def pipe(module: str, words: Sequence[str], chunks: Iterable[bytes], *, limits: Limits) -> Answer:
    """What this module of ours says to bytes of any length, which it reads from its standard input as they come."""
    child = start(module, words, limits)
    assert child.stdin is not None  # noqa: S101
    try:
        with suppress(BrokenPipeError):  # it has its answer, or was ended
            for chunk in chunks:
                child.stdin.write(chunk)
        out, said = child.communicate(timeout=limits.seconds + 1)
    except subprocess.TimeoutExpired:
        return Answer(fault=Fault.TIME)
    finally:
        end(child)
    return answer_of(child.returncode, out, said)


def start(
    module: str, words: Sequence[str], limits: Limits, files: Sequence[IO[bytes]] = ()
) -> subprocess.Popen[bytes]:
    told = (limits.seconds, limits.memory, limits.written)
    return subprocess.Popen(
        [sys.executable, "-I", str(CHILD), *map(str, told), module, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[file.fileno() for file in files],
        cwd="/",
        env=environment(),
        start_new_session=True,
    )


def path_of(file: IO[bytes]) -> str:
    """What the child calls a file that it was given open."""
    return f"/dev/fd/{file.fileno()}"


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


def answer_of(code: int, out: bytes, said: bytes) -> Answer:
    """What the child's exit and its answer mean."""
    if code in (-signal.SIGALRM, -signal.SIGXCPU):
        return Answer(fault=Fault.TIME)
    if code == -signal.SIGKILL:  # by the kernel, for whom it is the first to go where memory runs out
        return Answer(fault=Fault.MEMORY)
    try:
        answer = json.loads(out) if len(out) <= ANSWER_BYTES else None
    except ValueError:
        answer = None
    if code == 0 and isinstance(answer, dict):
        return Answer(answer, size=len(out))
    if code == 2 and isinstance(answer, dict) and answer.get("errors"):
        return Answer(errors=answer["errors"], size=len(out))
    lines = said.decode(errors="replace").strip().splitlines()
    log.warning("the engine gave no answer (exit %s): %s", code, " ".join(lines[-3:])[:500])
    return Answer(fault=Fault.MEMORY if any("MemoryError" in line for line in lines) else Fault.FAILED)
