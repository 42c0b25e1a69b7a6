"""One event stream for a whole pipeline: a stream for each job would take all the connections of a browser."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from apps.core.canonical import sha256_hex
from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.queries import progress_of, summaries
from apps.ml.pipelines.states import MOVING
from apps.platform.jobs import streams
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

LOOKED_AT = ("state", "attempt", "cancel_requested_at", "progress")


def mark_of(jobs: Iterable[Job]) -> str:
    """What a page shows of these jobs' states, in one word: another mark means that the page is out of date."""
    told = (f"{job.pk} {job.state} {job.attempt} {bool(job.cancel_requested_at)}" for job in jobs)
    return sha256_hex("\n".join(told))[:16]


def messages(pipeline_id: int, seen: str) -> Iterator[bytes]:
    """The messages of static/js/plane.js: `progress` of a step, `changed` when a state is not as `seen`, `end` last.

    Ids are marks, so a browser that comes back with Last-Event-ID is told what it has missed.
    """
    opened = said = time.monotonic()
    told: dict[str, Any] = {}
    yield f"retry: {streams.RETRY_MILLISECONDS}\n\n".encode()
    while not streams.STOPPING.is_set():
        steps = look(pipeline_id)
        streams.release_connection()
        fresh, seen, told = news(steps, seen, told)
        yield from fresh
        if not any(step.job.state in MOVING for step in steps):
            state = summaries([pipeline_id])[pipeline_id].state.value
            yield streams.format_message("end", {"state": state}, seen)
            return
        now = time.monotonic()
        if now - opened >= streams.OPEN_SECONDS:
            return
        if fresh:
            said = now
        elif now - said >= streams.HEARTBEAT_SECONDS:
            said = now
            yield b": still here\n\n"
        streams.STOPPING.wait(streams.POLL_SECONDS)


def look(pipeline_id: int) -> list[PipelineStep]:
    steps = PipelineStep.objects.filter(pipeline=pipeline_id).select_related("job").order_by("position")
    return list(steps.only("name", "position", *(f"job__{column}" for column in LOOKED_AT)))


def news(steps: list[PipelineStep], seen: str, told: dict[str, Any]) -> tuple[list[bytes], str, dict[str, Any]]:
    """What is not told yet, the mark of now, and the progress that is told by then."""
    mark = mark_of(step.job for step in steps)
    now = {step.name: progress_of(step.job) for step in steps if step.job.state == JobState.RUNNING}
    fresh = [
        streams.format_message("progress", {"step": name, **progress}, mark)
        for name, progress in now.items()
        if progress and progress != told.get(name)
    ]
    if mark != seen:
        fresh.append(streams.format_message("changed", {"mark": mark}, mark))
    return fresh, mark, now
