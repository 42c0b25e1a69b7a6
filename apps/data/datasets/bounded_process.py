"""Run the engine's command line from the web process: a child under resource limits, given open files, answering JSON.

The web process imports no engine. The child starts with an empty environment, and has always exited when `run_engine`
returns. Rationale: docs/adr/0008.
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

MAX_ANSWER_BYTES = 16 * 2**20
ENGINE = "deepseek.cli"
CHILD = Path(__file__).with_name("bounded_child.py")


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    seconds: int
    memory: int  # bytes of addresses: libraries reserve far more than they touch
    written: int  # bytes of a file


class ProcessFault(Enum):
    """Why the child gave no answer."""

    TIME = "time"
    MEMORY = "memory"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProcessAnswer:
    """The engine's JSON document; or errors of the spec or table, each with its field; or why there is neither."""

    document: Mapping[str, Any] | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    fault: ProcessFault | None = None
    size: int = 0  # of the answer, in bytes


@contextmanager
def take_slot(slots: threading.BoundedSemaphore, seconds: float, busy: Unavailable) -> Iterator[None]:
    """Hold one of the child slots of this process; raise `busy` if none becomes free within `seconds`."""
    if not slots.acquire(timeout=seconds):
        raise busy
    try:
        yield
    finally:
        slots.release()


def run_engine(args: Sequence[str], spec: str, *files: IO[bytes], limits: ProcessLimits) -> ProcessAnswer:
    """Run the engine with these arguments, which name `files` by `get_child_path`; the spec is its standard input."""
    child = start_child(ENGINE, args, limits, files)
    try:
        stdout, stderr = child.communicate(spec.encode(), timeout=limits.seconds + 1)
    except subprocess.TimeoutExpired:
        return ProcessAnswer(fault=ProcessFault.TIME)
    finally:
        kill_child(child)
    return parse_answer(child.returncode, stdout, stderr)


def stream_to_module(
    module: str, args: Sequence[str], chunks: Iterable[bytes], *files: IO[bytes], limits: ProcessLimits
) -> ProcessAnswer:
    """Run one of our modules and stream `chunks`, of any length, to its standard input. It opens `files` by
    `get_child_path`."""
    child = start_child(module, args, limits, files)
    assert child.stdin is not None  # noqa: S101
    try:
        with suppress(BrokenPipeError):  # it has its answer, or was ended
            for chunk in chunks:
                child.stdin.write(chunk)
        stdout, stderr = child.communicate(timeout=limits.seconds + 1)
    except subprocess.TimeoutExpired:
        return ProcessAnswer(fault=ProcessFault.TIME)
    finally:
        kill_child(child)
    return parse_answer(child.returncode, stdout, stderr)


def start_child(
    module: str, args: Sequence[str], limits: ProcessLimits, files: Sequence[IO[bytes]] = ()
) -> subprocess.Popen[bytes]:
    limit_args = (limits.seconds, limits.memory, limits.written)
    return subprocess.Popen(
        [sys.executable, "-I", str(CHILD), *map(str, limit_args), module, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[file.fileno() for file in files],
        cwd="/",
        env=build_environment(),
        start_new_session=True,
    )


def get_child_path(file: IO[bytes]) -> str:
    """The path under which the child opens a file descriptor that it inherited."""
    return f"/dev/fd/{file.fileno()}"


def build_environment() -> dict[str, str]:
    """Build the child's environment from scratch: no secret or proxy of the web process, one thread, no home folder."""
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


def kill_child(child: subprocess.Popen[bytes]) -> None:
    """KILL its whole group and reap it; harmless when it has ended by itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def parse_answer(code: int, stdout: bytes, stderr: bytes) -> ProcessAnswer:
    """Turn the child's exit code and output into an answer."""
    if code in (-signal.SIGALRM, -signal.SIGXCPU):
        return ProcessAnswer(fault=ProcessFault.TIME)
    if code == -signal.SIGKILL:  # by the kernel, for whom it is the first to go where memory runs out
        return ProcessAnswer(fault=ProcessFault.MEMORY)
    try:
        answer = json.loads(stdout) if len(stdout) <= MAX_ANSWER_BYTES else None
    except ValueError:
        answer = None
    if code == 0 and isinstance(answer, dict):
        return ProcessAnswer(answer, size=len(stdout))
    if code == 2 and isinstance(answer, dict) and answer.get("errors"):
        return ProcessAnswer(errors=answer["errors"], size=len(stdout))
    lines = stderr.decode(errors="replace").strip().splitlines()
    log.warning("the engine gave no answer (exit %s): %s", code, " ".join(lines[-3:])[:500])
    return ProcessAnswer(
        fault=ProcessFault.MEMORY if any("MemoryError" in line for line in lines) else ProcessFault.FAILED
    )
