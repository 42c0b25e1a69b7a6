"""The process of one server: a session of its own, so that it outlives its worker, known by pid and start time."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workers.process import get_realm, is_process_gone, start_time

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]  # of the packages
STOP_SECONDS = 8.0  # a server lets its requests end for 5 s
MAX_LOG_BYTES = 5_000_000
FORK_SECONDS = 60.0  # on a busy machine PyTorch takes a while to load
FORK_RETRY_SECONDS = 30.0


class ServerProcess:
    """A server that this worker has started, or that a predecessor started and this worker adopts."""

    def __init__(self, pid: int, began: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid, self.began, self.child = pid, began, child

    @classmethod
    def start(cls, words: Sequence[str], *, folder: Path, log: Path) -> ServerProcess:
        """Start `deepseek serve` in `folder`, with an environment that has no secret of the worker."""
        rotate_log(log)
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "deepseek.cli", "serve", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=build_environment(folder),
                start_new_session=True,
            )
        return cls(child.pid, start_time(child.pid), child)

    @classmethod
    def adopt(cls, record: Mapping[str, Any]) -> ServerProcess | None:
        """The server of a state file, if it still runs; None where its pid is free or another process has it."""
        pid, began = record.get("pid"), record.get("start_time")
        if record.get("realm") != get_realm() or not (isinstance(pid, int) and isinstance(began, int) and began):
            return None
        return None if start_time(pid) != began or is_process_gone(pid, began) else cls(pid, began)

    def is_gone(self) -> bool:
        if self.child is not None:
            return self.child.poll() is not None
        return is_process_gone(self.pid, self.began)

    def get_identity(self) -> dict[str, Any]:
        return {"pid": self.pid, "start_time": self.began, "realm": get_realm()}

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if not self.is_gone():
                os.kill(self.pid, number)

    def stop(self) -> None:
        """End it: its requests may finish first. Returns when it is gone."""
        self.send(signal.SIGTERM)
        if not self.wait(STOP_SECONDS):
            self.send(signal.SIGKILL)
            self.wait(STOP_SECONDS)

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so long. Returns at once when it does: the kernel tells, by its pidfd."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return self.is_gone()
        try:
            if self.is_gone():  # perhaps another process has its pid
                return True
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            has_ended = bool(poll.poll(seconds * 1000))  # what /proc says of it may be a moment behind
        finally:
            os.close(descriptor)
        return has_ended or self.is_gone()


class ForkServer:
    """The process of this node that has loaded what servers need, and forks them (fork_server.py)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None
        self.modules: set[str] = set()
        self.retry_at = 0.0
        self.lock = threading.Lock()

    def prepare(self, modules: Collection[str]) -> None:
        """Let it run and have loaded `modules`; nothing where another thread is at it, or it failed a moment ago."""
        is_ready = self.child is not None and self.child.poll() is None and self.modules.issuperset(modules)
        if is_ready or time.monotonic() < self.retry_at or not self.lock.acquire(blocking=False):
            return
        try:
            self.request({"modules": sorted(modules)})
        finally:
            self.lock.release()

    def start_server(self, words: Sequence[str], *, log: Path, modules: Collection[str]) -> ServerProcess | None:
        """Fork a server, with `modules` loaded before; None where that is not possible."""
        rotate_log(log)
        about = {"modules": sorted(modules), "words": list(words), "log": str(log), "folder": str(self.folder)}
        with self.lock:
            answer = self.request(about) if time.monotonic() >= self.retry_at else None
        return ServerProcess(answer["pid"], answer["start_time"]) if answer and "pid" in answer else None

    def request(self, about: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to one line; None, and the process is ended, where it has none in time. Under the lock."""
        if self.child is None or self.child.poll() is not None:
            self.start()
        child = self.child
        assert child is not None  # noqa: S101  for mypy, as the next two
        assert child.stdin is not None  # noqa: S101
        assert child.stdout is not None  # noqa: S101
        try:
            child.stdin.write(json.dumps(about).encode() + b"\n")
            is_answered = select.select([child.stdout], [], [], FORK_SECONDS)[0]
            answer = dict(json.loads(child.stdout.readline())) if is_answered else {}
        except (OSError, ValueError):  # it has died
            answer = {}
        if answer.get("threads") != 1:
            log.warning("endpoints: the process that forks servers fails (%s); they are started without it", answer)
            self.retry_at = time.monotonic() + FORK_RETRY_SECONDS
            self.end()
            return None
        self.modules.update(about["modules"])
        return answer

    def start(self) -> None:
        self.modules = set()
        self.child = subprocess.Popen(
            [sys.executable, "-m", "workers.endpoints.fork_server"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=build_environment(self.folder),
            start_new_session=True,
        )

    def close(self) -> None:
        """End it. The servers go on."""
        if (child := self.child) is not None:
            child.kill()  # a thread that waits for it has the lock
        with self.lock:
            self.end()

    def end(self) -> None:
        child, self.child = self.child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()


def rotate_log(log: Path) -> None:
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.rename(log.with_suffix(".old"))


def build_environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LOGNAME": "engine",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TVM_NUM_THREADS": "1",
    }


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a state file at once: a worker that is killed here leaves the old one."""
    staged = path.with_suffix(".staged")
    staged.write_text(json.dumps(record))
    staged.rename(path)


def read_record(path: Path) -> dict[str, Any]:
    """What a state file says; nothing where it is broken."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
