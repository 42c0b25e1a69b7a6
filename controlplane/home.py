"""What home shows, of one project or of all that the reader belongs to. Every list is bounded, so is every query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from apps.accounts.models import Project
from apps.actors import Actor
from apps.datasets.models import DatasetVersion, DatasetVersionQuerySet
from apps.jobs.models import Job, JobQuerySet
from apps.jobs.states import JobState
from apps.nodes.models import Node
from apps.policy import allows

FAILED_SHOWN, RUNNING_SHOWN, QUEUED_SHOWN, VERSIONS_SHOWN, NODES_SHOWN = 8, 20, 5, 8, 12


@dataclass(frozen=True, slots=True)
class FailedJob:
    job: Job
    may_retry: bool


def since() -> datetime:
    """The beginning of yesterday, in the zone of the plane: what failed over night is still news in the morning."""
    yesterday = timezone.localdate() - timedelta(days=1)
    return timezone.make_aware(datetime.combine(yesterday, time.min))


def jobs_of(actor: Actor, project: Project | None) -> JobQuerySet:
    jobs = Job.objects.visible_to(actor).select_related("project", "node")
    return jobs if project is None else jobs.filter(project=project)


def versions_of(actor: Actor, project: Project | None) -> DatasetVersionQuerySet:
    versions = DatasetVersion.objects.visible_to(actor).select_related("dataset__project").defer("manifest")
    return versions if project is None else versions.filter(dataset__project=project)


def open_jobs(actor: Actor, project: Project | None) -> dict[str, Any]:
    """The part that renews itself: how many jobs move and wait, the running ones, and who is next."""
    jobs = jobs_of(actor, project)
    states = (JobState.RUNNING, JobState.QUEUED, JobState.WAITING)
    counted = jobs.select_related(None).filter(state__in=states).order_by().values_list("state").annotate(Count("pk"))
    counts = dict.fromkeys(states, 0) | dict(counted)
    return {
        "running": list(jobs.filter(state=JobState.RUNNING).order_by("-id")[:RUNNING_SHOWN]),
        "queued": list(jobs.filter(state=JobState.QUEUED).order_by("-priority", "id")[:QUEUED_SHOWN]),
        "running_count": counts[JobState.RUNNING],
        "queued_count": counts[JobState.QUEUED] + counts[JobState.WAITING],
    }


def failed_jobs(actor: Actor, project: Project | None) -> dict[str, Any]:
    """What failed since yesterday and was not tried again, the newest first."""
    failed = jobs_of(actor, project).filter(state=JobState.FAILED, ended_at__gte=since())
    shown = [FailedJob(job, allows(actor, "job.retry", job)) for job in failed.order_by("-id")[:FAILED_SHOWN]]
    count = len(shown) if len(shown) < FAILED_SHOWN else failed.select_related(None).count()
    return {"failed": shown, "failed_count": count, "since": since()}


def newest_versions(actor: Actor, project: Project | None) -> list[DatasetVersion]:
    return list(versions_of(actor, project).order_by("-id")[:VERSIONS_SHOWN])


def nodes_shown(actor: Actor) -> QuerySet[Node]:
    return Node.objects.visible_to(actor).with_status().with_use().order_by("name")[:NODES_SHOWN]
