"""The attempt history of a job: node, duration, outcome and resource usage of each attempt. Read-only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.core.messages import translate_message
from apps.platform.jobs.models import Job, JobEvent
from apps.platform.jobs.states import JobState

MAX_EVENTS = 200  # the newest moves: a job that was retried for weeks tells its last attempts


@dataclass(slots=True)
class Attempt:
    """One claim of the job. `state` is what it ended in, "queued" being one that was given back or tried again."""

    number: int
    began: datetime
    node: str = ""
    ended: datetime | None = None
    state: str = JobState.RUNNING
    why: str = ""
    usage: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        return ((self.ended or timezone.now()) - self.began).total_seconds()


def list_attempt_events(job: Job) -> list[JobEvent]:
    """The newest moves of a job and what its attempts used, newest first. One query."""
    return list(JobEvent.objects.filter(job=job, kind__in=("state", "usage")).order_by("-seq")[:MAX_EVENTS])


def build_attempts(moves: Sequence[JobEvent]) -> list[Attempt]:
    """Build the attempts whose claim is among these events, newest first."""
    attempts_by_number: dict[int, Attempt] = {}
    for event in reversed(moves):
        attempt, payload = attempts_by_number.get(event.attempt), event.payload
        if event.kind == "usage":
            if attempt is not None:
                attempt.usage = payload
        elif payload.get("state") == JobState.RUNNING:
            attempts_by_number[event.attempt] = Attempt(event.attempt, event.created_at, str(payload.get("node") or ""))
        elif attempt is not None and attempt.ended is None:
            # One that broke is tried again by itself; one that was given back has a reason and no error.
            ended = JobState.FAILED if payload.get("code") else payload.get("state")
            attempt.ended, attempt.state = event.created_at, str(ended)
            attempt.why = translate_message(payload, "reason")
    return sorted(attempts_by_number.values(), key=lambda attempt: -attempt.number)


def find_last_usage(attempts: Iterable[Attempt]) -> dict[str, Any] | None:
    """Return the last reported usage: `peak_memory_bytes`, `cpu_seconds`, `seconds`, and `cpus` on average."""
    for attempt in attempts:
        if attempt.usage:
            cpu, seconds = attempt.usage.get("cpu_seconds"), attempt.usage.get("seconds")
            cpus = None
            if isinstance(cpu, int | float) and isinstance(seconds, int | float) and seconds > 0:
                cpus = cpu / seconds
            return {**attempt.usage, "attempt": attempt.number, "cpus": cpus}
    return None
