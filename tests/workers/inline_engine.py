"""Engines in a thread of the test's process, for tests in which the process is not the point.

A child process pays for a Python of its own: 0.5 s of processor time for a job that does nothing, 5 s for one that
imports torch. What kills its process, or is to be stopped from outside, runs in a child here too.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from workers import child
from workers.process import EngineProcess

FATAL = {"crash", "memory", "hang"}
LONG_SECONDS = 5.0  # nobody waits so long for a job: the test stops it
CRASHED = 2  # exit code of an engine that could not even report its fault


def start_engine(request: Mapping[str, Any], **options: Any) -> InlineEngine | EngineProcess:
    """Start the engine of `request` in a thread, or in a child process if it would take the test with it."""
    spec = json.loads(request["spec"])
    needs_process = spec.get("fail") in FATAL or spec.get("children") or spec.get("seconds", 0) >= LONG_SECONDS
    return EngineProcess(request, **options) if needs_process else InlineEngine(request, **options)


class InlineEngine:
    """What workers.process.EngineProcess offers to an attempt; the same events from the same entry point."""

    def __init__(self, request: Mapping[str, Any], *, mark: str, **_options: Any) -> None:
        self.mark, self.code = mark, CRASHED
        self.events, self._events_write = os.pipe()
        self.prints, prints_write = os.pipe()
        os.close(prints_write)
        self.shim = SimpleNamespace(pid=os.getpid(), poll=self.poll)
        self.thread = threading.Thread(target=self.run, args=(json.loads(json.dumps(request)),), name="engine")
        self.thread.start()

    def run(self, request: dict[str, Any]) -> None:
        began = time.monotonic()
        try:
            self.code = child.run_engine(request, self._events_write)
            usage = {"peak_memory_bytes": 2**20, "cpu_seconds": 0.1, "seconds": round(time.monotonic() - began, 3)}
            os.write(self._events_write, json.dumps({"event": "usage", **usage}).encode() + b"\n")
        finally:
            os.close(self._events_write)

    def poll(self) -> int | None:
        return None if self.thread.is_alive() else self.code

    def get_identity(self) -> dict[str, Any]:
        return {"host": os.uname().nodename, "boot_id": "test", "pid": os.getpid(), "start_time": 0}

    def let_go(self) -> None:
        """A thread cannot be stopped: it ends by itself, soon."""

    def close(self, grace: float) -> int:
        self.thread.join(timeout=60)
        assert not self.thread.is_alive(), "a long engine belongs into a process"
        os.close(self.events)
        os.close(self.prints)
        return self.code
