"""What keeps a request open: event streams (Server-Sent Events) and waiting for a job's end.

Each takes a thread of the web process, so both count against one cap. Nothing is held while they sleep: no
transaction, and on PostgreSQL no connection.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import StreamingHttpResponse

from apps.core.errors import Unavailable
from apps.platform.jobs.models import Job, JobEvent
from apps.platform.jobs.states import ENDED

STOPPING = threading.Event()
"""Set by gunicorn's SIGTERM (controlplane/gunicorn_conf.py): open streams would make a stop cost its whole grace."""

POLL_SECONDS = 0.5
WAIT_POLL_SECONDS = 0.25
HEARTBEAT_SECONDS = 10.0
OPEN_SECONDS = 60.0  # a proxy's patience; the browser comes back with Last-Event-ID
RETRY_MILLISECONDS = 1000
EVENTS_PER_POLL = 20  # a log event holds up to 500 lines

_lock = threading.Lock()
_open = 0


class TooManyStreams(Unavailable):
    """503 rather than 429: it is the process that is full, not this client that asks too often."""

    code = "too_many_streams"


class StreamSlot:
    """One of this process's places for requests that stay open; `leave` may be called again."""

    def __init__(self) -> None:
        global _open
        limit = settings.ENV.streams_per_worker
        with _lock:
            if _open >= limit:
                raise TooManyStreams(
                    "This web process holds as many open streams as it may.",
                    limit=limit,
                    hint="Try again in a few seconds; STREAMS_PER_WORKER sets this limit.",
                )
            _open += 1
        self.taken = True

    def leave(self) -> None:
        global _open
        with _lock:
            if self.taken:
                self.taken = False
                _open -= 1

    def __enter__(self) -> StreamSlot:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()


def release_connection() -> None:
    """Give the pooled connection back before a sleep; SQLite's is the thread's own and costs nothing."""
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()


# -- waiting --------------------------------------------------------------------------------------------------------
def wait_until_ended(job_id: int, seconds: float) -> None:
    """Return when the job has ended, `seconds` are over, or this process is asked to stop."""
    wait_while(Job.objects.filter(pk=job_id).exclude(state__in=ENDED).exists, seconds)


def wait_while(moving: Callable[[], bool], seconds: float) -> None:
    """Return when `moving` says no, `seconds` are over, or this process is asked to stop."""
    deadline = time.monotonic() + seconds
    with StreamSlot():
        while moving():
            left = deadline - time.monotonic()
            release_connection()
            if left <= 0 or STOPPING.wait(min(WAIT_POLL_SECONDS, left)):
                return


# -- event streams --------------------------------------------------------------------------------------------------
class EventStream:
    """The body of a stream. A class: a generator that was never started runs no `finally`, and would keep its seat."""

    def __init__(self, messages: Iterator[bytes]) -> None:
        self.seat = StreamSlot()
        self.messages = messages

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self.messages)
        except BaseException:
            self.seat.leave()
            raise

    def close(self) -> None:
        """Called by the server when the client has gone, too."""
        self.messages.close()  # type: ignore[attr-defined]
        self.seat.leave()


def stream_response(job_id: int, after: int) -> StreamingHttpResponse:
    """The events of a job behind `after`, until it has ended; TooManyStreams when the process is full."""
    return build_stream_response(iter_messages(job_id, after))


def build_stream_response(messages: Iterator[bytes]) -> StreamingHttpResponse:
    """Messages as Server-Sent Events, in one of this process's seats."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(EventStream(messages), content_type="text/event-stream", headers=headers)


def iter_messages(job_id: int, after: int) -> Iterator[bytes]:
    """The messages of static/js/plane.js: progress, log, state, metric, and `end` last; ids are the events' seq."""
    opened = last_sent = time.monotonic()
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    while not STOPPING.is_set():
        state, newest, events = read_events_after(job_id, after)
        release_connection()
        for event in events:
            after, last_sent = event.seq, time.monotonic()
            yield format_event(event)
        if len(events) == EVENTS_PER_POLL and after < newest:
            continue
        if state in ENDED and after >= newest:
            yield format_message("end", {"state": state}, after)
            return
        now = time.monotonic()
        if now - opened >= OPEN_SECONDS:
            return
        if now - last_sent >= HEARTBEAT_SECONDS:
            last_sent = now
            yield b": still here\n\n"
        STOPPING.wait(POLL_SECONDS)


def read_events_after(job_id: int, after: int) -> tuple[str, int, list[JobEvent]]:
    """State and newest seq first, events second: an event of the last move can then not be missed before `end`."""
    row = Job.objects.filter(pk=job_id).values_list("state", "event_seq").first()
    if row is None:
        return "cancelled", after, []
    state, newest = row
    if newest <= after:
        return state, newest, []
    events = JobEvent.objects.filter(job_id=job_id, seq__gt=after).order_by("seq")
    return state, newest, list(events[:EVENTS_PER_POLL])


def format_event(event: JobEvent) -> bytes:
    """One event; a batch of metrics becomes one message for each point, the last of which carries the id."""
    points = event.payload.get("points") if event.kind == "metric" else None
    if not points:
        return format_message(event.kind, event.payload, event.seq)
    return b"".join(
        [*(format_message("metric", p) for p in points[:-1]), format_message("metric", points[-1], event.seq)]
    )


def format_message(name: str, data: Any, seq: int | str | None = None) -> bytes:
    """One SSE message; JSON escapes line ends, so the data is one line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"id: {seq}\n" if seq is not None else ""
    return f"{head}event: {name}\ndata: {text}\n\n".encode(errors="replace")
