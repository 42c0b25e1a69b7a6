"""The processes of one node: workers, started anew where one is lost, and on the first node the scheduler."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepseek.job import Report
from deepseek.memory import get_allowed_bytes
from deepseek.partitions.nodes.membership import Membership

ROOT = Path(__file__).resolve().parents[3]  # of the packages, which a process of its own has to find
POLL_SECONDS = 0.2
LISTEN_SECONDS = 5.0
"""That another node may take to answer before its scheduler counts as gone."""
STOP_SECONDS = 10.0
SHORT_SECONDS = 30.0
MAX_SHORT_LIVES = 5
"""Workers of a place that end within SHORT_SECONDS, one after another: then none is started any more."""
CLOSED, LOST = 0, 3  # as in process.py, which imports Dask


class NodeProcesses:
    """Starts the processes of this node. `folder` is this node's scratch folder, `inputs` its copies of the inputs."""

    def __init__(
        self, membership: Membership, folder: Path, inputs: Mapping[str, Path], processes: int, report: Report
    ) -> None:
        self.membership, self.folder, self.report = membership, folder, report
        self.rank = membership.placement.node_rank
        self.local = folder / f".dask-{self.rank}"
        self.local.mkdir(exist_ok=True)
        self.host = membership.find_own_address()
        self.inputs = {slot: str(path.absolute()) for slot, path in inputs.items()}
        self.memory_bytes = get_allowed_bytes() // processes  # of each
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.started: dict[int, float] = {}
        self.short_lives: dict[int, int] = {}
        self.is_stopping = False
        if self.rank == 0:
            self.scheduler = self._start("scheduler", {"host": membership.placement.address})
        self.workers = {place: self._start_worker(place) for place in range(processes)}

    def _start_worker(self, place: int) -> subprocess.Popen[bytes]:
        self.started[place] = time.monotonic()
        return self._start(
            f"worker-{place}",
            {
                "host": self.host,
                "name": f"{self.rank}-{place}-{time.monotonic_ns()}",
                "scheduler": self.membership.scheduler_url,
                "scratch": str(self.folder.absolute()),
                "local": str(self.local),
                "inputs": self.inputs,
                "credentials": str(self.membership.credentials.folder),
                "is_first_node": self.rank == 0,
                "memory_bytes": self.memory_bytes,
            },
        )

    def _start(self, name: str, request: dict[str, Any]) -> subprocess.Popen[bytes]:
        credentials = self.membership.credentials
        files = {"ca": credentials.authority, "cert": credentials.certificate, "key": credentials.key}
        path = self.local / f"{name}.json"
        common = {"role": name.partition("-")[0], "port": self.membership.placement.port}
        path.write_text(json.dumps({**common, **request, **{what: str(file) for what, file in files.items()}}))
        packages = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])])
        return subprocess.Popen(
            [sys.executable, "-m", "deepseek.partitions.nodes.process", str(path)],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1"},
        )

    def replace_lost(self) -> None:
        """Start a worker for each that is lost. Those that the scheduler has ended stay so, and all if it is gone."""
        if self.has_lost_scheduler:
            return
        for place, process in self.workers.items():
            code, lives = process.poll(), self.short_lives.get(place, 0)
            if code in (None, CLOSED) or lives >= MAX_SHORT_LIVES or self.is_stopping:
                continue
            is_short = time.monotonic() - self.started[place] < SHORT_SECONDS
            self.short_lives[place] = lives + 1 if is_short else 0
            if self.short_lives[place] >= MAX_SHORT_LIVES:
                continue
            code = process.returncode
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            if code == LOST:
                cause = "it lost the scheduler, which is there"
            self.report.log(
                f"A worker process of node {self.rank} ended ({cause}): another is started.", level="warning"
            )
            _close_input(process)
            self.workers[place] = self._start_worker(place)

    @property
    def is_closed(self) -> bool:
        """Whether the scheduler has ended the cluster: it tells every worker, and one may be lost just then."""
        return any(process.poll() == CLOSED for process in self.workers.values())

    @property
    def is_given_up(self) -> bool:
        """Whether no worker runs, and none will: each place has lost as many as are tried."""
        return all(self.short_lives.get(place, 0) >= MAX_SHORT_LIVES for place in self.workers)

    @property
    def has_lost_scheduler(self) -> bool:
        """Whether the scheduler of this node has ended, or a worker of another node has lost it and it is gone.

        A scheduler also leaves a worker that was silent for long: that one is replaced, and the others go on.
        """
        if self.scheduler is not None:
            return self.scheduler.poll() is not None and not self.is_stopping
        is_lost = any(process.poll() == LOST for process in self.workers.values()) and not self.is_closed
        return is_lost and not self.membership.is_listening(LISTEN_SECONDS)

    def is_listening(self) -> bool:
        """Whether the scheduler of this node takes connections."""
        return self.membership.is_listening(POLL_SECONDS)

    def await_scheduler(self, seconds: float) -> None:
        """Give the scheduler time to tell all workers that it ends."""
        self.is_stopping = True
        self.observe_scheduler(seconds)

    def observe_scheduler(self, seconds: float) -> None:
        """Return once the scheduler of this node has ended, or after so many seconds."""
        if self.scheduler is not None:
            with suppress(subprocess.TimeoutExpired):
                self.scheduler.wait(seconds)

    def stop(self) -> None:
        """End all processes of this node."""
        self.is_stopping = True
        processes = [*self.workers.values(), *([self.scheduler] if self.scheduler else [])]
        for process in processes:
            _close_input(process)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.local, ignore_errors=True)


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


class Keeper:
    """A thread that replaces lost workers until `close`."""

    def __init__(self, processes: NodeProcesses) -> None:
        self._ended = threading.Event()
        self._processes = processes
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._processes.replace_lost()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
