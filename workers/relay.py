"""Relay the engine's output to the job's events, in batches.

The engine's pipe is not trusted: what is not an event is logged as a line, what is too long is cut.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.platform.jobs import services
from apps.platform.jobs.errors import build_job_error, memory_limit
from apps.platform.jobs.models import Job
from deepseek.messages import N_, Message, restore_message
from workers.shim import MEMORY_LIMIT

FLUSH_SECONDS = 0.25
FIRST_FLUSH_SECONDS = 0.05
LINES_PER_FLUSH = 500
LINE_LIMIT = 5000  # characters
LOG_LIMIT = 200_000  # lines of one job; a runaway loop must not fill the database
METRICS_PER_FLUSH = 200
LESS_MEMORY = Message("Ask for more memory, or give less data.")
BACKLOG = 10_000  # lines or metrics not written yet, at which reading pauses
EVENT_LIMIT = 4 << 20  # bytes of one event; a result lists every output
TEXT_LIMIT = 200  # characters of a name, a unit, a stage
PARTITION_NUMBERS = ("done", "total", "rows", "total_rows")
PARTITION_LISTS = ("running", "again")
PARTITIONS_LISTED = 64
USAGE = ("peak_memory_bytes", "cpu_seconds", "seconds")  # what the shim tells when the engine has ended

Record = Callable[[Sequence[Mapping[str, Any]]], int]
"""Takes metrics in the transaction that tells them; how many it left out."""


class Relay:
    """Turns the bytes of two pipes into events of the job. Used by the attempt's own thread only."""

    def __init__(self, job: Job, actor: Actor, *, record: Record | None = None) -> None:
        self.job, self.actor, self.record = job, actor, record
        self.left_out = False  # told once
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.crash: dict[str, Any] | None = None
        self.progress: dict[str, Any] | None = None
        self.usage: dict[str, Any] | None = None
        self.checkpoint: tuple[str, int] | None = (
            None  # path and step of the newest announced, for workers/checkpoints.py
        )
        self.lines: list[list[str]] = []
        self.metrics: list[dict[str, Any]] = []
        self.peak_memory_bytes = 0  # of the whole process tree, as the shim saw it; 0 until the engine has ended
        self.memory_ran_out = False  # the kernel killed a process for it while the engine ran
        self.line_count = job.log_lines
        self.flushed_at = time.monotonic() - FLUSH_SECONDS + FIRST_FLUSH_SECONDS
        self.stage_began: tuple[float, str, float] = (time.monotonic(), "", 0)  # when, which, and with how much done
        self.heard_at = time.monotonic()  # when the engine last told or printed something
        self._events, self._prints = b"", b""

    # -- in -------------------------------------------------------------------------------------------------------
    def take_events(self, data: bytes) -> bool:
        """Bytes of the event pipe; False at its end."""
        self.heard_at = time.monotonic()
        *lines, self._events = (self._events + data).split(b"\n")
        for line in lines:
            self.take(line)
        if len(self._events) > EVENT_LIMIT:
            self.log(f"The engine wrote an event of more than {EVENT_LIMIT} bytes; it is left out.", "warning")
            self._events = b""
        return bool(data)

    def take_prints(self, data: bytes) -> bool:
        """Bytes of stdout and stderr, which become log lines; False at the end."""
        self.heard_at = time.monotonic()
        *lines, rest = (self._prints + data).split(b"\n")
        self._prints = rest[-LINE_LIMIT:]
        for line in lines:
            self.log(line.decode(errors="replace"), "info")
        return bool(data)

    def take_rest(self) -> None:
        """Both pipes have ended: what stands without a line end counts too."""
        if self._prints:
            self.log(self._prints.decode(errors="replace"), "info")
        if self._events:
            self.take(self._events)
        self._prints = self._events = b""

    def take(self, line: bytes) -> None:
        if not line:
            return
        try:
            text = strip_unstorable(line.decode(errors="replace")).replace("\\u0000", "\ufffd")
            event = json.loads(text, parse_constant=str, parse_float=parse_finite)
            name = event["event"]
        except (ValueError, TypeError, KeyError, RecursionError):
            self.log(line.decode(errors="replace"), "warning")
            return
        if name == "progress":
            self.progress = self.estimate(event)
        elif name == "log":
            self.log(str(event.get("text", "")), str(event.get("level", "info")), event.get("at"))
        elif name == "metric":
            self.metrics.append({key: to_plain(event.get(key)) for key in ("name", "value", "step", "at")})
        elif name == "usage":
            self.usage = {key: to_plain(event.get(key)) for key in USAGE}
            peak = self.usage["peak_memory_bytes"]
            self.peak_memory_bytes = peak if isinstance(peak, int) else 0
        elif name == "checkpoint":
            self.checkpoint = parse_checkpoint(event) or self.checkpoint
        elif name in ("result", "error", "crash"):
            setattr(self, name, event)

    def log(self, text: str, level: str, at: float | None = None) -> None:
        if self.line_count >= LOG_LIMIT:
            return
        self.line_count += 1
        if self.line_count == LOG_LIMIT:
            text, level = f"The log ends here: a job keeps {LOG_LIMIT} lines.", "warning"
        self.lines.append(
            [parse_time(at).isoformat(timespec="milliseconds"), level[:TEXT_LIMIT], strip_unstorable(text)[:LINE_LIMIT]]
        )

    def estimate(self, event: dict[str, Any]) -> dict[str, Any]:
        """The progress with its rate, units per second, and the seconds left, both over the current stage.

        What was done when the stage's first report came is not counted: an attempt may go on from a checkpoint.
        """
        done, total = to_plain(event.get("done")), to_plain(event.get("total"))
        stage, unit = str(event.get("stage", ""))[:TEXT_LIMIT], str(event.get("unit", ""))[:TEXT_LIMIT]
        now, number = time.monotonic(), done if isinstance(done, int | float) else 0
        if stage != self.stage_began[1] or number < self.stage_began[2]:
            self.stage_began = (now, stage, number)
        began, _, before = self.stage_began
        elapsed = now - began
        rate = drop_non_finite((done - before) / elapsed) if isinstance(done, int | float) and elapsed > 0.5 else None
        left = drop_non_finite((total - done) / rate) if rate and isinstance(total, int | float) else None
        progress = {"done": done, "total": total, "unit": unit, "stage": stage, "rate": rate, "eta_seconds": left}
        partitions = bound_partitions(event.get("partitions"))
        return progress | ({"partitions": partitions} if partitions else {})

    def is_full(self) -> bool:
        """Whether the buffer is full, so that nothing more should be read until it is flushed."""
        return len(self.lines) >= BACKLOG or len(self.metrics) >= BACKLOG

    # -- out ------------------------------------------------------------------------------------------------------
    def flush_if_due(self) -> None:
        full = len(self.lines) >= LINES_PER_FLUSH or len(self.metrics) >= METRICS_PER_FLUSH
        if full or time.monotonic() - self.flushed_at >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered, in one transaction; StaleState if the job is no longer ours."""
        self.flushed_at = time.monotonic()
        if self.job.need_nodes > 1 and self.lines:
            with transaction.atomic():  # the numbers are given under the row's lock, which this holds
                self.line_count = services.reserve_lines(actor=self.actor, job=self.job, count=len(self.lines))
                self.write_gathered()
        else:
            self.write_gathered()

    def write_gathered(self) -> None:
        lines, metrics, progress, usage = self.lines, self.metrics, self.progress, self.usage
        events: list[tuple[str, dict[str, Any]]] = []
        for start in range(0, len(lines), LINES_PER_FLUSH):
            part = lines[start : start + LINES_PER_FLUSH]
            events.append(("log", {"first": self.line_count - len(lines) + start + 1, "lines": part}))
        if metrics:
            events.append(("metric", {"points": metrics}))
        if progress:
            events.append(("progress", progress))
        if usage:
            events.append(("usage", usage))
        if not events:
            return
        snapshot: dict[str, Any] = {"log_lines": self.line_count} if self.job.need_nodes == 1 else {}
        if progress:
            snapshot["progress"] = progress
        left_out = self.write(events, metrics, snapshot)
        # Only now: after a failed write the next flush sends them again.
        self.lines, self.metrics = self.lines[len(lines) :], self.metrics[len(metrics) :]
        self.progress = self.usage = None
        if left_out and not self.left_out:
            self.left_out = True
            self.log("Some metrics are not kept: no number, no whole step, or more names than a run keeps.", "warning")

    def write(self, events: Sequence[tuple[str, Any]], metrics: Sequence[Any], snapshot: Mapping[str, Any]) -> int:
        """Events and metrics live and die together; how many metrics the run left out."""
        if self.record is None or not metrics:
            services.report_events(actor=self.actor, job=self.job, events=events, **snapshot)
            return 0
        with transaction.atomic():
            services.report_events(actor=self.actor, job=self.job, events=events, **snapshot)
            return self.record(metrics)


def bound_partitions(state: Any) -> dict[str, Any]:
    """What is kept of the state of the partitions: whole numbers, and short lists of them."""
    if not isinstance(state, Mapping):
        return {}
    numbers = {name: value for name in PARTITION_NUMBERS if is_count(value := state.get(name))}
    lists = {
        name: [value for value in state[name][:PARTITIONS_LISTED] if is_count(value)]
        if isinstance(state.get(name), list)
        else []
        for name in PARTITION_LISTS
    }
    return numbers | lists if len(numbers) == len(PARTITION_NUMBERS) else {}


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def strip_unstorable(text: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL's JSON refuses."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def parse_finite(text: str) -> float | str:
    """A float of JSON; 1e999 stays text, for it would become Infinity, which PostgreSQL's JSON refuses."""
    number = float(text)
    return number if math.isfinite(number) else text


def parse_checkpoint(event: Mapping[str, Any]) -> tuple[str, int] | None:
    """Path and step of a checkpoint, if these are what they should be."""
    path, step = event.get("path"), event.get("step")
    return (path, step) if isinstance(path, str) and path and isinstance(step, int) and 0 <= step < 2**63 else None


def drop_non_finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def to_plain(value: Any) -> int | float | str | None:
    """Reduce a value to a number that arithmetic can take, None or a short text."""
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value)[:TEXT_LIMIT]


ERROR_TEXTS = ("code", "message", "field", "hint")
ERROR_IDS = (("msgid", "params"), ("hint_msgid", "hint_params"))  # deepseek/messages.py
MESSAGE_LIMIT = 2000  # characters of a text, or of a message's values, that the job and the audit trail keep
MESSAGE_LEVELS = 8  # of values in values: nobody writes so many, and each is a call where it is read


def bound_error(event: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an error that the engine's process tells: it may tell anything, 4 MiB of it, and nested."""
    error: dict[str, Any] = {}
    for key in (name for name in ERROR_TEXTS if name in event):
        text = event[key] if is_shallow(event[key]) else ""
        error[key] = None if text is None else str(text)[:MESSAGE_LIMIT]
    if "limit" in event:
        error["limit"] = event["limit"] if is_short(event["limit"]) else None
    for msgid, params in ERROR_IDS:
        if isinstance(event.get(msgid), str) and is_short(event[msgid]) and is_short(event.get(params)):
            error |= {msgid: event[msgid], params: event.get(params)}
    return error


def is_short(value: Any) -> bool:
    return is_shallow(value) and len(json.dumps(value, ensure_ascii=False)) <= 2 * MESSAGE_LIMIT


def is_shallow(value: Any, levels: int = MESSAGE_LEVELS) -> bool:
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return levels >= 0 and all(is_shallow(item, levels - 1) for item in inside)


def parse_time(at: Any) -> datetime:
    """The engine's time of a line, if it is one, else now."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def explain_failure(code: int, relay: Relay) -> tuple[dict[str, Any], bool]:
    """What ended an engine that did not succeed, and whether another attempt may help."""
    if code == MEMORY_LIMIT:
        return memory_limit(relay.peak_memory_bytes, relay.job.need_memory_bytes), False
    if relay.error:
        return bound_error(relay.error), False
    if relay.crash:
        crash = bound_error(relay.crash)
        if crash.get("hint"):
            return crash, True
        out_of_memory = crash.get("code") == "out_of_memory"
        hint = LESS_MEMORY if out_of_memory else Message("The log shows where.")
        return build_job_error(str(crash.get("code")), restore_message(crash), hint=hint), True
    number = code - 128 if code > 128 else -code
    if number == signal.SIGKILL and relay.memory_ran_out:
        return build_job_error("out_of_memory", "The kernel killed the engine: memory ran out.", hint=LESS_MEMORY), True
    if number == signal.SIGKILL:
        hint = Message("It was killed from outside, most often because memory ran out: ask for more memory.")
        return build_job_error("engine_killed", "The engine was killed (SIGKILL).", hint=hint), True
    try:
        how = Message("was ended by {signals_name}", signals_name=signal.Signals(number).name)
    except ValueError:
        how = Message("ended with exit code {code}", code=code)
    return build_job_error(
        "engine_crashed", Message("The engine {how}.", how=how), hint=N_("The log may say why.")
    ), True
