"""One event stream for a whole pipeline: a stream for each job would take all the connections of a browser."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from apps.core.canonical import sha256_hex
from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.queries import count_steps_by_state, get_progress
from apps.ml.pipelines.states import MOVING
from apps.platform.jobs import streams
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

JOB_COLUMNS = ("state", "attempt", "cancel_requested_at", "progress")


def compute_mark(jobs: Iterable[Job]) -> str:
    """What a page shows of these jobs' states, in one word: another mark means that the page is out of date."""
    states = (f"{job.pk} {job.state} {job.attempt} {bool(job.cancel_requested_at)}" for job in jobs)
    return sha256_hex("\n".join(states))[:16]


def stream_messages(pipeline_id: int, mark: str) -> Iterator[bytes]:
    """The messages of static/js/plane.js: `progress` of a step, `changed` when a state is not as `seen`, `end` last.

    Ids are marks, so a browser that comes back with Last-Event-ID is told what it has missed.
    """
    opened = last_sent_at = time.monotonic()
    sent_progress: dict[str, Any] = {}
    yield f"retry: {streams.RETRY_MILLISECONDS}\n\n".encode()
    while not streams.STOPPING.is_set():
        steps = load_steps(pipeline_id)
        streams.release_connection()
        fresh, mark, sent_progress = build_news(steps, mark, sent_progress)
        yield from fresh
        if not any(step.job.state in MOVING for step in steps):
            state = count_steps_by_state([pipeline_id])[pipeline_id].state.value
            yield streams.format_message("end", {"state": state}, mark)
            return
        now = time.monotonic()
        if now - opened >= streams.OPEN_SECONDS:
            return
        if fresh:
            last_sent_at = now
        elif now - last_sent_at >= streams.HEARTBEAT_SECONDS:
            last_sent_at = now
            yield b": still here\n\n"
        streams.STOPPING.wait(streams.POLL_SECONDS)


def load_steps(pipeline_id: int) -> list[PipelineStep]:
    steps = PipelineStep.objects.filter(pipeline=pipeline_id).select_related("job").order_by("position")
    return list(steps.only("name", "position", *(f"job__{column}" for column in JOB_COLUMNS)))


def build_news(
    steps: list[PipelineStep], previous_mark: str, sent_progress: dict[str, Any]
) -> tuple[list[bytes], str, dict[str, Any]]:
    """What is not told yet, the mark of now, and the progress that is told by then."""
    mark = compute_mark(step.job for step in steps)
    now = {step.name: get_progress(step.job) for step in steps if step.job.state == JobState.RUNNING}
    fresh = [
        streams.format_message("progress", {"step": name, **progress}, mark)
        for name, progress in now.items()
        if progress and progress != sent_progress.get(name)
    ]
    if mark != previous_mark:
        fresh.append(streams.format_message("changed", {"mark": mark}, mark))
    return fresh, mark, now
