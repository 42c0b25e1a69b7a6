"""The engine's side of a job: run one function, tell everything as JSON lines. Imports the engine only, no Django."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from deepseek.job import EngineError, TransientError
from deepseek.memory import limit_memory
from deepseek.messages import Message

PROGRESS_PAUSE = 0.1  # seconds between two progress lines at least: a fast loop must not drown the worker
LINKS = 2  # checkpoints that wait to be opened, at most: each may be large
CAUSES = 10  # of an error that are looked at, each behind the other
DISK_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))
LINE_LIMIT = 4096  # characters of a log line; the rest is cut and said to be


class Events:
    """The engine's Report, written to a file descriptor of its own: prints cannot spoil it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.held: dict[str, Any] | None = None  # newest progress, not sent yet
        self.sent_at = 0.0
        self.stage = ""
        self.partition_state: dict[str, Any] | None = None
        self.links: list[Path] = []

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        line: dict[str, Any] = {"event": "progress", "done": done, "total": total, "unit": unit, "stage": stage}
        if self.partition_state is not None:
            line["partitions"] = self.partition_state
        now = time.monotonic()
        if now - self.sent_at < PROGRESS_PAUSE and stage == self.stage:
            self.held = line
            return
        self.sent_at, self.stage, self.held = now, stage, None
        self.send(line)

    def partitions(self, state: dict[str, Any] | None) -> None:
        """What goes out with each progress from here on: the state of the partitions (deepseek/partitions)."""
        self.partition_state = state

    def metric(self, name: str, value: float, step: int = 0) -> None:
        self.send({"event": "metric", "name": name, "value": value, "step": step, "at": time.time()})

    def log(self, text: str, *, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
        for line in str(text).splitlines() or [""]:
            cut = line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]} ... ({len(line)} characters)"
            self.send({"event": "log", "text": cut, "level": level, "at": time.time()})

    def checkpoint(self, path: Path, step: int) -> None:
        """Tell of a link to the file, not of `path`: the engine may rename the next one over it before it is opened."""
        link = Path(f"{path}.{step}")
        try:
            link.unlink(missing_ok=True)
            os.link(path, link)
        except OSError as error:
            self.log(f"The checkpoint of step {step} is not kept: {error.strerror}.", level="warning")
            return
        self.links.append(link)
        for late in self.links[:-LINKS]:  # a worker that is held up leaves them there
            late.unlink(missing_ok=True)
        del self.links[:-LINKS]
        self.send({"event": "checkpoint", "path": str(link), "step": step})

    def flush(self) -> None:
        if self.held:
            self.send(self.held)
            self.held = None

    def send(self, event: dict[str, Any]) -> None:
        data = json.dumps(event, default=str).encode() + b"\n"
        while data:
            data = data[os.write(self.descriptor, data) :]


def run_engine(request: dict[str, Any], descriptor: int) -> int:
    """Run the function that `request` names; the last event says how it ended. Returns the exit code."""
    report = Events(descriptor)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        spec = load(request["spec_class"]).model_validate_json(request["spec"])
        inputs = {slot: Path(path) for slot, path in request["inputs"].items()}
        with limit_memory(request.get("memory_bytes") or 0):
            result = load(request["entry"])(spec, inputs=inputs, out=Path(request["out"]), report=report)
        report.flush()
        report.send({"event": "result", **result.as_dict()})
        return 0
    except EngineError as error:
        report.flush()
        if is_disk_full(error.__cause__ or error.__context__):
            report.send({"event": "crash", "code": "storage_full", "message": str(error)})
            return 2
        event = "crash" if isinstance(error, TransientError) else "error"  # a crash is tried again
        report.send({"event": event, **error.as_dict()})
        return 1
    except MemoryError:
        report.send({"event": "crash", "code": "out_of_memory", "message": Message("The job ran out of memory.")})
        return 2
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an engine may raise anything; the job says what
        report.flush()
        report.log(traceback.format_exc(), level="error")
        code = "storage_full" if is_disk_full(error) else "engine_crashed"
        report.send({"event": "crash", "code": code, "message": f"{type(error).__name__}: {error}"})
        return 2


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk or quota is behind an error. Libraries wrap that one, or keep nothing but its text."""
    for _ in range(CAUSES):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if not isinstance(error, EngineError) and any(text in str(error) for text in DISK_FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def load(name: str) -> Any:
    """The object that "module:name" names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
