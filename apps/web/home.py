"""The jobs, nodes and data that home shows, of one project or of all that the reader belongs to.

Every list is bounded, and so is every query.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Subquery

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.policy import is_allowed
from apps.data.datasets.models import DatasetVersion, DatasetVersionQuerySet
from apps.platform.accounts.models import Project
from apps.platform.jobs.errors import PARENT_FAILED
from apps.platform.jobs.lists import count_moving_jobs, get_recent_start
from apps.platform.jobs.models import Job, JobParent, JobQuerySet
from apps.platform.jobs.queries import explain_queued
from apps.platform.jobs.states import ENDED, JobState
from apps.platform.nodes.models import Node
from apps.platform.nodes.presenters import build_offline_filter
from apps.web.asset_version import get_asset_version
from apps.web.first_steps import build_step_filters
from apps.web.home_overview import list_project_ids, select_newest
from apps.web.search.names import union_rows

FAILED_SHOWN, RUNNING_SHOWN, QUEUED_SHOWN, ENDED_SHOWN = 5, 20, 5, 6
VERSIONS_SHOWN, NODES_SHOWN, PROJECTS_SHOWN = 6, 6, 8
NODES_READ = 200
MAX_FAILURES_COUNTED = 100  # failures; "100 or more" is as much as anybody needs to know
MOVING_SECONDS, STILL_SECONDS = 4, 15  # until an open page asks again: while jobs run or wait, and while none does


@dataclass(frozen=True, slots=True)
class FailedJob:
    job: Job
    may_retry: bool
    cause: int | None  # the job that it failed with
    followers: int  # that failed because it did


def list_jobs(actor: Actor, project: Project | None) -> JobQuerySet:
    jobs = Job.objects.visible_to(actor).select_related("project", "node")
    return jobs if project is None else jobs.filter(project=project)


def load_first(jobs: JobQuerySet, count: int, **more: Any) -> list[Job]:
    """The first of these jobs, each with `more`. Which they are is asked of an index alone; joined and read are only
    those.
    """
    chosen = jobs.select_related(None).values("pk")[:count]
    order = jobs.query.order_by
    rows = Job.objects.filter(pk__in=chosen).select_related("project", "node").order_by(*order)
    return list(rows.defer("spec", "grant", "result").annotate(**more))


def list_versions(actor: Actor, project: Project | None) -> DatasetVersionQuerySet:
    versions = DatasetVersion.objects.visible_to(actor).select_related("dataset__project").defer("manifest")
    return versions if project is None else versions.filter(dataset__project=project)


def load_open_jobs(actor: Actor, project: Project | None) -> dict[str, Any]:
    """The part that renews itself: how many jobs move and wait, the running ones, each with whether its node is
    `silent`, who is next, and what ended last.
    """
    jobs = list_jobs(actor, project).select_related(None)
    counts = count_moving_jobs(jobs)
    ended = jobs.filter(ended_at__isnull=False)
    parts = {
        "running": jobs.filter(state=JobState.RUNNING).order_by("-id").values("pk")[:RUNNING_SHOWN],
        "queued": jobs.filter(state=JobState.QUEUED).order_by("-priority", "id").values("pk")[:QUEUED_SHOWN],
        "ended": select_newest(ended, list_project_ids(actor, project), ("-ended_at", "-id"), ENDED_SHOWN),
    }
    rows = union_rows(Job.objects.select_related("project", "node"), *parts.values())
    rows = rows.defer("spec", "grant", "result").annotate(silent=build_offline_filter("node"))
    loaded = list(rows.order_by("-id"))
    queued = [job for job in loaded if job.state == JobState.QUEUED]
    queued.sort(key=lambda job: (-job.priority, job.pk))
    finished = [job for job in loaded if job.ended_at is not None and job.state in ENDED]
    return {
        "running": [job for job in loaded if job.state == JobState.RUNNING],
        "queued": queued,
        "ended": sorted(finished, key=lambda job: (job.ended_at, job.pk), reverse=True),
        "why_first_waits": explain_queued(actor, queued[:1])[0]["summary"] if queued else "",
        "every_seconds": MOVING_SECONDS if any(counts.values()) else STILL_SECONDS,
        "counts": counts,
    }


def load_failed_jobs(actor: Actor, project: Project | None) -> dict[str, Any]:
    """What failed since yesterday and was not tried again, the newest first; what failed with a job that is there
    itself is counted beside that one.
    """
    failed = list_jobs(actor, project).filter(state=JobState.FAILED, ended_at__gte=get_recent_start())
    # As many as are counted, in one query: a second one to count them would cost more than their few columns.
    parents = JobParent.objects.filter(child=OuterRef("pk"), parent__state__in=(JobState.FAILED, JobState.CANCELLED))
    cause = Subquery(parents.order_by("parent").values("parent")[:1])
    jobs = load_first(failed.order_by("-ended_at", "-id"), MAX_FAILURES_COUNTED, cause=cause)
    causes = {job.pk: None if can_retry_alone(job) else job.cause for job in jobs}  # type: ignore[attr-defined]
    follower_counts = Counter(find_root_cause(pk, causes) for pk in causes)
    heads = [job for job in jobs if causes[job.pk] not in causes]
    rows = [
        FailedJob(
            job,
            can_retry_alone(job) and is_allowed(actor, "job.retry", job),
            causes[job.pk],
            follower_counts[job.pk] - 1,
        )
        for job in heads[:FAILED_SHOWN]
    ]
    return {
        "failed": rows,
        "failed_count": len(jobs),
        "failed_many": len(jobs) >= MAX_FAILURES_COUNTED,
        "failed_causes": len(heads),
        "failed_in": (projects := Counter(job.project.slug for job in jobs)).most_common(PROJECTS_SHOWN),
        "failed_elsewhere": len(projects) > PROJECTS_SHOWN or len(jobs) >= MAX_FAILURES_COUNTED,
        "since": get_recent_start(),
    }


def find_root_cause(pk: int, causes: Mapping[int, int | None]) -> int:
    """The first of those that `pk` failed with, one because of the other; itself where it failed by itself."""
    while (cause := causes[pk]) in causes:
        pk = cause  # type: ignore[assignment]
    return pk


def can_retry_alone(job: Job) -> bool:
    """Whether it is worth trying again: what failed with its parent would only wait for that one, which brings it."""
    return (job.error or {}).get("code") != PARENT_FAILED


def load_newest_versions(actor: Actor, project: Project | None) -> list[DatasetVersion]:
    """The newest data, each with how far the projects have come, for the first steps; in the same query."""
    done = build_step_filters(actor, project)
    return list(list_versions(actor, project).annotate(**done).order_by("-id")[:VERSIONS_SHOWN])


def load_nodes(actor: Actor) -> list[Node]:
    """More than are shown: their states also light the frame's lamp, which then asks nothing."""
    return list(Node.objects.visible_to(actor).with_status().with_use().order_by("name")[:NODES_READ])


def compute_mark(context: Mapping[str, Any]) -> str:
    """What the parts of home show, in one word: an open page asks with it, and is told when nothing has changed."""
    jobs = [(job.pk, job.state, job.attempt, job.node_id, job.progress, job.silent) for job in context["running"]]
    queued = [(job.pk, job.priority) for job in context["queued"]]
    failed = [(row.job.pk, row.job.attempt, row.followers) for row in context["failed"]]
    nodes = [(node.pk, node.status, node.running_jobs, node.used_memory_bytes) for node in context["nodes"]]
    counts = [context[name] for name in ("counts", "failed_count", "failed_causes", "failed_in", "why_first_waits")]
    more = [[item.url, item.text] for item in context["waiting"]], [version.pk for version in context["versions"]]
    recent = [[job.pk for job in context["ended"]], [(run.pk, run.state) for run in context["runs"]]]
    security = [(alarm.pk, alarm.last_at) for alarm in context["security_alarms"]]
    alarms = [(alarm.pk, alarm.state) for alarm in context["alarms"]]
    open_items = [[row.pk for row in context["requests"]], alarms, security]
    return sha256_hex(
        json.dumps(
            [get_asset_version(), jobs, queued, failed, nodes, counts, more, recent, open_items],
            default=str,
            sort_keys=True,
        )
    )[:16]
