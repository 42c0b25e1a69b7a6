"""When each step of a pipeline stood in line and ran, on one axis of time. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.ml.pipelines.models import PipelineStep
from apps.platform.jobs.models import Job


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the axis, in per cent from its left end."""

    left: float
    width: float
    seconds: float

    @property
    def right(self) -> float:
        return self.left + self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """`stood`: in line, ready to run; `ran`: the last attempt. None where it did not come so far."""

    step: PipelineStep
    stood: Span | None
    ran: Span | None
    open: bool  # it still stands or runs: the end is now


@dataclass(frozen=True, slots=True)
class Gantt:
    began: datetime
    seconds: float
    bars: list[Bar]


def build_gantt(steps: Iterable[PipelineStep], now: datetime) -> Gantt | None:
    """None as long as no step was ready to run."""
    listed = list(steps)
    moments = [moment for step in listed for moment in list_moments(step.job, now)]
    if not moments:
        return None
    began, ended = min(moments), max(moments)
    duration = max(ended - began, timedelta(milliseconds=1))

    def build_span(start: datetime | None, end: datetime | None) -> Span | None:
        if start is None or end is None or end < start:
            return None
        return Span((start - began) / duration * 100, (end - start) / duration * 100, (end - start).total_seconds())

    bars = []
    for step in listed:
        job = step.job
        end = job.ended_at or now
        stood = build_span(job.queued_at, job.claimed_at or end)
        bars.append(Bar(step=step, stood=stood, ran=build_span(job.claimed_at, end), open=not job.ended))
    return Gantt(began, duration.total_seconds(), bars)


def list_moments(job: Job, now: datetime) -> list[datetime]:
    """When it was ready, was claimed and ended; now, if it is on its way."""
    moments = [moment for moment in (job.queued_at, job.claimed_at, job.ended_at) if moment is not None]
    return [*moments, now] if moments and not job.ended else moments
