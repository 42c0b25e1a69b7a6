"""The queues as a whole: how long each is, how long it was, and why the job at its head does not start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Coalesce

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.jobs.models import Job, QueueSample
from apps.platform.jobs.queries import explain_queued
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.states import JobState
from apps.platform.nodes import samples
from apps.platform.nodes.models import Node
from apps.platform.nodes.presenters import build_offline_filter
from apps.platform.nodes.samples import TimeWindow

MAX_QUEUES = 50
MEAN_COLUMNS = ("queued", "running", "waiting", "oldest_seconds")


@dataclass(frozen=True, slots=True)
class OpenJobCount:
    """How many jobs of one kind are in one state of one queue, and since when the oldest is queued."""

    state: str
    queue: str
    kind: str
    jobs: int
    oldest: datetime | None


def count_open_jobs(*, silent: bool = False) -> list[OpenJobCount]:
    """Every job that has not ended, counted by state, queue and kind. One query, over the three partial indexes: as
    an IN of the states, SQLite would read the whole table.

    With `silent`, those that run on an offline node are counted once more, as if that were a state.
    """
    querysets = [
        (Job.objects.filter(state=state), False) for state in (JobState.QUEUED, JobState.RUNNING, JobState.WAITING)
    ]
    if silent:
        querysets.append((Job.objects.filter(build_offline_filter("node"), state=JobState.RUNNING), True))
    parts = [
        jobs.order_by()
        .annotate(silent=Value(which))
        .values_list("state", "queue", "kind", "silent")
        .annotate(models.Count("pk"), models.Min("queued_at"))
        for jobs, which in querysets
    ]
    rows = parts[0].union(*parts[1:], all=True)
    return [OpenJobCount("silent" if which else state, queue, kind, *rest) for state, queue, kind, which, *rest in rows]


# -- samples --------------------------------------------------------------------------------------------------------
def sample_queues(*, actor: Actor) -> int:
    """Keep how long every queue is now, by the database's clock; returns how many rows. Telemetry: no audit.

    One sample per queue and 15 s, however many dispatchers there are.
    """
    require(actor, "queue.sample")
    now = samples.get_database_now()
    at = samples.floor_time(now, samples.SAMPLE_SECONDS)
    if QueueSample.objects.filter(span=0, at=at).exists():
        return 0
    rows = {name: QueueSample(queue=name, at=at) for name in sorted(list_served_queues())[:MAX_QUEUES]}
    for row in count_open_jobs():
        sample = rows.setdefault(row.queue, QueueSample(queue=row.queue, at=at))
        setattr(sample, row.state, getattr(sample, row.state) + row.jobs)
        if row.state == JobState.QUEUED and row.oldest:
            waited = max(0.0, (now - row.oldest).total_seconds())
            sample.oldest_seconds = max(waited, sample.oldest_seconds or 0.0)
    QueueSample.objects.bulk_create(rows.values(), ignore_conflicts=True)
    return len(rows)


def keep_samples(*, actor: Actor) -> int:
    """Means for what is old enough to have one, and an end for what is too old; returns how many means were made."""
    require(actor, "queue.sample")
    count = samples.add_means(QueueSample, "queue", compute_queue_means)
    samples.delete_expired(QueueSample)
    return count


def list_served_queues() -> set[str]:
    """The queues that any node names, whether it is online or not."""
    return {queue for queues in Node.objects.values_list("queues", flat=True) for queue in queues}


def compute_queue_means(rows: Sequence[QueueSample]) -> dict[str, Any]:
    return {name: samples.compute_mean([getattr(row, name) for row in rows]) for name in MEAN_COLUMNS}


def get_queue_samples(actor: Actor, queue: str, window: TimeWindow) -> list[tuple[datetime, dict[str, Any]]]:
    """How long `queue` was in the time asked for, at most 400 points. One query."""
    return get_samples_by_queue(actor, window, queue=queue).get(queue, [])


def get_samples_by_queue(
    actor: Actor, window: TimeWindow, **only: str
) -> dict[str, list[tuple[datetime, dict[str, Any]]]]:
    """{queue: points} in the time asked for, of at most MOST_QUEUES queues. One query."""
    require(actor, "node.view")
    rows = QueueSample.objects.filter(window.rows, **only).order_by("at")
    rows_by_queue: dict[str, list[QueueSample]] = {}
    for row in rows.iterator(chunk_size=2000):
        if row.queue in rows_by_queue or len(rows_by_queue) < MAX_QUEUES:
            rows_by_queue.setdefault(row.queue, []).append(row)
    return {
        queue: samples.build_points(few, window, compute_queue_means) for queue, few in sorted(rows_by_queue.items())
    }


# -- why a queue waits ----------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Queue:
    """One queue at a glance. `head` is the job that it gives out next; `wait` says why that has not started."""

    name: str
    queued: int = 0
    running: int = 0
    silent: int = 0  # of those that run, on a node that is offline
    waiting: int = 0
    oldest: datetime | None = None
    nodes: list[str] = field(default_factory=list)  # that serve it and are online
    head: Job | None = None
    wait: dict[str, Any] | None = None

    @property
    def moving(self) -> int:
        return self.running - self.silent


def list_queues(actor: Actor) -> list[Queue]:
    """Every queue that a node serves or a job is in, by name; five queries, however many queues, nodes and jobs.

    The head may be of a project that the reader is not in: its kind and its needs are told, as on the list of nodes,
    never its name.
    """
    require(actor, "node.view")
    nodes = list(Node.objects.visible_to(actor).with_status())
    by_name = {name: Queue(name) for node in nodes for name in node.queues}
    for row in count_open_jobs(silent=True):
        queue = by_name.setdefault(row.queue, Queue(row.queue))
        setattr(queue, row.state, getattr(queue, row.state) + row.jobs)
        if row.state == JobState.QUEUED and row.oldest:
            queue.oldest = min(queue.oldest or row.oldest, row.oldest)
    queues = [by_name[name] for name in sorted(by_name)[:MAX_QUEUES]]
    for queue in queues:
        queue.nodes = sorted(
            node.name for node in nodes if getattr(node, "online", False) and queue.name in node.queues
        )
    heads = find_queue_heads([queue.name for queue in queues if queue.queued])
    waits = explain_queued(actor, list(heads.values()), nodes)
    wait_by_queue = dict(zip(heads, waits, strict=True))
    for queue in queues:
        queue.head, queue.wait = heads.get(queue.name), wait_by_queue.get(queue.name)
    return queues


def find_queue_heads(names: Iterable[str]) -> dict[str, Job]:
    """{queue: the job that it gives out next}: one that pauses after a failure is passed over while others are due."""
    first = Q()
    for name in names:
        queued = Job.objects.filter(queue=name, state=JobState.QUEUED)
        any_, due = queued, queued.filter(build_due_filter())
        best = [models.Subquery(jobs.order_by("-priority", "id").values("pk")[:1]) for jobs in (due, any_)]
        first |= Q(pk=Coalesce(*best))
    if not first:
        return {}
    return {job.queue: job for job in Job.objects.filter(first).select_related("project")}
