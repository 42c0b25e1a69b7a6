"""Run Git as a child process with a clean environment, a time limit and a limit on concurrent children."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from apps.core.errors import Unavailable
from deepseek.messages import N_

log = logging.getLogger(__name__)

DEFAULT_SECONDS = 120  # of a command that only looks
MAX_TURN_WAIT_SECONDS = 10.0  # a request waits so long for its turn
PROCESSORS = 4  # that a process of Git is thought to use at a time, for the limit of its processor time
MEMORY_BYTES = 2 << 30  # of data in a child: a few kB of deltas may say that they are an object of any size
PATH = "/usr/local/bin:/usr/bin:/bin"
CONFIG = {
    "safe.directory": "*",  # a share may say that its folders are another user's
    "init.defaultBranch": "main",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "receive.autogc": "false",
    "receive.unpackLimit": "1",  # what a push brings stays one pack, which is kept
    "receive.fsckObjects": "true",
    "receive.denyDeletes": "true",
    "receive.denyNonFastForwards": "true",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
    "pack.deltaCacheSize": "16m",
    "core.bigFileThreshold": "8m",
    "core.packedGitLimit": "256m",
    "uploadpack.allowFilter": "true",
}
_turns: dict[tuple[int, int], threading.BoundedSemaphore] = {}
_guard = threading.Lock()


def build_environment(more: Mapping[str, str] | None = None, config: Mapping[str, str] | None = None) -> dict[str, str]:
    """No variable of the web process gets through, and no configuration of the machine or of a user."""
    settings_by_key = {**CONFIG, **(config or {})}
    keys = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(settings_by_key)}
    values = {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(settings_by_key.values())}
    base = {
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(settings_by_key)),
    }
    return {**base, **keys, **values, **(more or {})}


def find_program() -> str:
    """Where git is; Unavailable on a host without it."""
    path = shutil.which("git", path=PATH)
    if path is None:
        raise Unavailable(
            "Git is not installed on this host.", code="program_missing", hint=N_("The operator must install git.")
        )
    return path


def start(*words: str, cwd: Path, env: Mapping[str, str] | None = None, **pipes: Any) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that `kill_child` reaches what it starts; its memory is bounded, and theirs.

    So is the processor time of each process: of a child whose web process was killed nobody keeps the deadline, and
    `git http-backend` reads a body that has ended for ever.
    """
    limits = 'ulimit -d "$0" && ulimit -t "$1" && shift && exec "$@"'
    seconds = PROCESSORS * settings.ENV.git_seconds
    command = ["/bin/sh", "-c", limits, str(MEMORY_BYTES >> 10), str(seconds), find_program(), *words]
    return subprocess.Popen(command, cwd=cwd, env=dict(env or build_environment()), start_new_session=True, **pipes)


def kill_child(child: subprocess.Popen[bytes]) -> None:
    """KILL a child and everything below it; harmless when it has ended: its number may be another's by then."""
    if child.poll() is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


class Deadline:
    """Ends a child when its time is over; as a context, also when the block is left."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self.child, self.passed = child, False
        self.timer = threading.Timer(seconds, self._over)
        self.timer.daemon = True
        self.timer.start()

    def _over(self) -> None:
        if self.child.poll() is None:
            self.passed = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)

    def close(self) -> None:
        self.timer.cancel()
        kill_child(self.child)

    def __enter__(self) -> Deadline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(
    *words: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    input_chunks: Iterable[bytes] | None = None,
    seconds: float = DEFAULT_SECONDS,
) -> bytes:
    """What a command prints; GitFailed with its last words where it fails. `input_chunks` is its standard input."""
    stdin = subprocess.PIPE if input_chunks is not None else subprocess.DEVNULL
    child = start(*words, cwd=cwd, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with Deadline(child, seconds) as deadline:
        feeder = (
            threading.Thread(target=write_all, args=(child.stdin, input_chunks), daemon=True) if child.stdin else None
        )
        stderr_parts: list[bytes] = []
        stderr_reader = threading.Thread(target=lambda: stderr_parts.append(read_all(child.stderr)), daemon=True)
        for thread in (feeder, stderr_reader):
            if thread:
                thread.start()
        out = read_all(child.stdout)
        for thread in (feeder, stderr_reader):
            if thread:
                thread.join()
        status = child.wait()
        if deadline.passed:
            raise git_too_slow_error()
    if status:
        raise GitFailed(words[0], status, b"".join(stderr_parts).decode(errors="replace").strip())
    return out


def write_all(pipe: IO[bytes] | None, chunks: Iterable[bytes] | None) -> None:
    if pipe is None:
        return
    with suppress(BrokenPipeError, ValueError), pipe:
        for chunk in chunks or ():
            pipe.write(chunk)


def read_all(pipe: IO[bytes] | None) -> bytes:
    if pipe is None:
        return b""
    with pipe:
        return pipe.read()


class GitFailed(Exception):
    """A command of Git ended with an error: a damaged repository, or an object that is not there."""

    def __init__(self, command: str, status: int, stderr: str) -> None:
        super().__init__(f"git {command} ended with {status}: {stderr[-500:]}")
        self.stderr = stderr


def git_too_slow_error() -> Unavailable:
    return Unavailable(
        "Git took longer than {git_seconds} seconds and was ended.",
        git_seconds=settings.ENV.git_seconds,
        code="git_too_slow",
        limit=settings.ENV.git_seconds,
        hint=N_("Send large files by LFS (git lfs track), or in several pushes. GIT_SECONDS sets this limit."),
    )


def take_turn() -> threading.BoundedSemaphore:
    """One of GIT_CHILDREN places of this process; release it. Unavailable where none gets free in time."""
    key = os.getpid(), settings.ENV.git_children
    with _guard:
        turns = _turns.setdefault(key, threading.BoundedSemaphore(settings.ENV.git_children))
    if not turns.acquire(timeout=MAX_TURN_WAIT_SECONDS):
        raise Unavailable(
            "{git_children} requests of Git are served at this moment.",
            git_children=settings.ENV.git_children,
            code="git_busy",
            limit=settings.ENV.git_children,
            hint=N_("Try again in a moment. GIT_CHILDREN sets this limit."),
        )
    return turns


@contextmanager
def hold_turn() -> Iterator[None]:
    turns = take_turn()
    try:
        yield
    finally:
        turns.release()
