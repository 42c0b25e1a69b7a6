"""The list of jobs: its columns, what narrows it, and what can be done to many of them at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import Count, Value
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_POST, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.lists.listing import (
    Column,
    Listing,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    mark_list_view,
    read_filter_values,
)
from apps.core.request_values import parse_int, validate_choice
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.bulk_actions import (
    REASON_LIMIT,
    Done,
    build_result_context,
    get_return_url,
    parse_numeric_ids,
    run_bulk_action,
)
from apps.platform.audit.list_export import export_list
from apps.platform.jobs import queries, services
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobQuerySet
from apps.platform.jobs.states import JobState
from apps.platform.nodes.presenters import build_offline_filter
from deepseek.messages import N_

DAYS = ("made", "ended")


def get_displayed_state(job: Job) -> str:
    """The state, or that a running job was asked to stop."""
    return "cancelling" if job.cancel_requested_at and job.state == JobState.RUNNING else job.state


def compute_progress(job: Job) -> float | None:
    total = (job.progress or {}).get("total")
    return (job.progress.get("done") or 0) / total if total else None


def compute_duration(job: Job) -> float | None:
    return (job.ended_at - job.claimed_at).total_seconds() if job.ended_at and job.claimed_at else None


JOBS = Listing(
    "jobs",
    (
        Column("job", gettext_lazy("Job"), lambda job: job.pk, ("id",), down=True),
        Column("kind", gettext_lazy("Kind"), lambda job: job.kind, ("kind", "-id")),
        Column("name", gettext_lazy("Name"), lambda job: job.name),
        Column("state", gettext_lazy("State"), get_displayed_state, ("state", "-id")),
        Column("progress", gettext_lazy("Progress"), compute_progress),
        Column("makes", gettext_lazy("Creates"), lambda job: job.register.get("dataset") or job.register.get("model")),
        Column("node", gettext_lazy("Node"), lambda job: job.node.name if job.node else None),
        Column("queue", gettext_lazy("Queue"), lambda job: job.queue, default_visible=False),
        Column("priority", gettext_lazy("Priority"), lambda job: job.priority, numeric=True, default_visible=False),
        Column(
            "attempts", gettext_lazy("Attempts"), lambda job: job.attempts_used, numeric=True, default_visible=False
        ),
        Column("by", gettext_lazy("By"), lambda job: job.requester, ("requester", "-id")),
        Column("made", gettext_lazy("Created"), lambda job: job.created_at, ("created_at", "id"), down=True),
        Column(
            "ended",
            gettext_lazy("Ended"),
            lambda job: job.ended_at,
            ("ended_at", "id"),
            down=True,
            sparse=True,
            default_visible=False,
        ),
        Column("took", gettext_lazy("Duration"), compute_duration, numeric=True),
        Column("error", gettext_lazy("Error"), lambda job: (job.error or {}).get("message"), default_visible=False),
    ),
    sort="-job",
)


# -- the list -------------------------------------------------------------------------------------------------------
@mark_list_view(JOBS.key)
@require_safe
def show_jobs(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/jobs: newest first, narrowed by the query; a filter of nonsense is said, and shows nothing."""
    actor, where = get_project_context(request, project)
    filters = read_filter_values(request.GET, queries.FILTERS)
    table = build_table(
        JOBS,
        request.GET,
        lambda: query_jobs(actor, where, request.GET, filters),
        filters=build_filter_bar(request.GET, filters),
        builtin=list_builtin_views(actor),
        sort=choose_sort(request.GET),
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "jobs",
        "counts": count_jobs(actor, where),
        "may_submit": policy.is_allowed(actor, "job.submit", where),
        "may_act": policy.is_allowed(actor, "job.cancel", where),
        **build_calls_context(table.rows),
    }
    return render(request, "jobs/list.html", context, status=table.status)


def build_calls_context(jobs: Sequence[Job]) -> dict[str, Any]:
    """What the tray asks for, and bodies of the same as REST calls."""
    low, high = services.PRIORITIES
    limit = _("%(low)s to %(high)s") % {"low": low, "high": high}
    field = {"name": "priority", "label": _("Priority"), "value": 0, "min": low, "max": high, "limit": limit}
    return {
        "priority_field": field,
        "first_ids": [job.pk for job in jobs[:2]],
        "cancel_body": {"reason": "..."},
        "retry_body": {"reason": ""},
        "priority_body": {"priority": 10},
    }


def query_jobs(actor: Actor, project: Project, params: QueryDict, filters: dict[str, str]) -> JobQuerySet:
    """What fits the filters. The spec stays in the database: a list shows none of it."""
    jobs = filter_by_days(queries.list_jobs(actor, project, **filters), params).defer("spec", "grant", "result")
    return jobs.annotate(silent=build_offline_filter("node"))


def filter_by_days(jobs: JobQuerySet, params: Mapping[str, Any]) -> JobQuerySet:
    """Those made, and ended, between the days asked for. Raises Invalid."""
    filtered: JobQuerySet = filter_between_days(
        filter_between_days(jobs, "created_at", params, "made"), "ended_at", params, "ended"
    )
    return filtered


def choose_sort(params: Mapping[str, Any]) -> str:
    """By the time that is narrowed, whose index then holds what fits in one piece."""
    narrowed = [name for name in DAYS if params.get(f"{name}_after") or params.get(f"{name}_before")]
    return f"-{narrowed[-1]}" if narrowed else ""


def get_recent_start() -> datetime:
    """The beginning of yesterday, in the zone of the plane: what failed over night is still news in the morning."""
    yesterday = timezone.localdate() - timedelta(days=1)
    return timezone.make_aware(datetime.combine(yesterday, time.min))


def count_jobs(actor: Actor, project: Project) -> dict[str, int]:
    """How many jobs are open now, as `moving_counts` has them, and failed since yesterday. Two queries over small
    indices.
    """
    jobs = Job.objects.visible_to(actor).filter(project=project)
    failed = jobs.filter(state=JobState.FAILED, ended_at__gte=get_recent_start()).count()
    return {**count_moving_jobs(jobs), "failed": failed}


def count_moving_jobs(jobs: JobQuerySet) -> dict[str, int]:
    """How many of these jobs run, of which some are `silent`, on a node that is offline, the others `moving`; how many
    are queued, and wait for another job. One query: only the few that run are joined with their nodes, the rest is
    asked of an index alone.
    """
    jobs = jobs.select_related(None).order_by()
    states = (JobState.RUNNING, JobState.QUEUED, JobState.WAITING)
    parts = [
        subset.annotate(silent=Value(silent)).values_list("state", "silent").annotate(number=Count("pk"))
        for subset, silent in (
            (jobs.filter(state__in=states), False),
            (jobs.filter(build_offline_filter("node"), state=JobState.RUNNING), True),
        )
    ]
    counts = {(state, bool(silent)): number for state, silent, number in parts[0].union(parts[1], all=True)}
    running, silent = (counts.get((JobState.RUNNING, which), 0) for which in (False, True))
    return {
        "running": running,
        "silent": silent,
        "moving": running - silent,
        "queued": counts.get((JobState.QUEUED, False), 0),
        "waiting": counts.get((JobState.WAITING, False), 0),
    }


def build_filter_bar(params: QueryDict, filters: dict[str, str]) -> list[dict[str, Any]]:
    states = [("", _("Every state")), *((value, str(word)) for value, word in JobState.choices)]
    kinds = [("", _("Every kind")), *((key, str(kind.label)) for key, kind in KINDS.items())]
    return [
        {"name": "name", "label": _("Name"), "value": filters["name"]},
        {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
        {"name": "kind", "label": _("Kind"), "value": filters["kind"], "choices": kinds},
        {"name": "requester", "label": _("Who"), "value": filters["requester"]},
        *build_day_filters(params, "made", pgettext("day", "Created from"), _("Created until")),
        *build_day_filters(params, "ended", _("Ended from"), _("Ended until")),
    ]


def list_builtin_views(actor: Actor) -> list[dict[str, Any]]:
    return [
        build_builtin_view(_("Running"), state=JobState.RUNNING.value),
        build_builtin_view(_("Queued"), state=JobState.QUEUED.value),
        build_builtin_view(_("Failed today"), state=JobState.FAILED.value, ended_after="today"),
        build_builtin_view(_("Mine"), requester=actor.label),
    ]


# -- many at once ---------------------------------------------------------------------------------------------------
@require_POST
def handle_bulk_action(request: HttpRequest, project: str) -> HttpResponse:
    """Cancel, retry or put elsewhere in line the selected jobs, each by itself; the answer says what became of each."""
    actor, where = get_project_context(request, project)
    verb = request.POST.get("do", "")
    validate_choice("do", verb, VERBS, N_("{found!r} is nothing to do to jobs."), required=True)
    permission, address, title, prepare = VERBS[verb]
    policy.require(actor, permission, where)
    ids, (body, act) = parse_numeric_ids(request), prepare(actor, request)

    def get_job_url(pk: int) -> str:
        return reverse("jobs:detail", args=[where.slug, pk])

    def run_on_job(pk: int) -> Done:
        job = queries.get_job(actor, where, pk)
        return Done(str(job), get_job_url(pk), act(job))

    outcomes = run_bulk_action(actor, ids, run_on_job, request=request, name=lambda pk: f"#{pk}", page=get_job_url)
    back = get_return_url(request, reverse("jobs:list", args=[where.slug]))
    context = build_result_context(outcomes, title=str(title), back=back)
    calls = {"address": address, "ids": ids, "body": body}
    return render(request, "jobs/bulk.html", {**context, "nav": "jobs", "calls": calls})


Act = Callable[[Job], str]


def prepare_cancel(actor: Actor, request: HttpRequest) -> tuple[dict[str, Any], Act]:
    reason = request.POST.get("reason", "").strip()[:REASON_LIMIT]
    if not reason:
        raise Invalid("Say why: it goes into the audit trail.", field="reason", limit=f"1..{REASON_LIMIT}")

    def act(job: Job) -> str:
        services.cancel_job(actor=actor, job=job, reason=reason)
        return _("Cancelled") if job.state == JobState.CANCELLED else _("The worker was asked to stop it")

    return {"reason": reason}, act


def prepare_retry(actor: Actor, request: HttpRequest) -> tuple[dict[str, Any], Act]:
    def act(job: Job) -> str:
        services.retry_job(actor=actor, job=job)
        return str(JobState(job.state).label)

    return {}, act


def prepare_prioritise(actor: Actor, request: HttpRequest) -> tuple[dict[str, Any], Act]:
    low, high = services.PRIORITIES
    text = request.POST.get("priority", "").strip()
    if (priority := parse_int(text, -9999, 9999)) is None:
        raise Invalid("{text!r} is no whole number.", text=text[:20], field="priority", limit=f"{low}..{high}")

    def act(job: Job) -> str:
        services.prioritise_job(actor=actor, job=job, priority=priority)
        return _("Priority %(number)s") % {"number": job.priority}

    return {"priority": priority}, act


# verb -> (permission, REST address of one, title of the answer, what prepares it)
VERBS: dict[str, tuple[str, str, Any, Callable[[Actor, HttpRequest], tuple[dict[str, Any], Act]]]] = {
    "cancel": ("job.cancel", "api-job-cancel", gettext_lazy("Cancel jobs"), prepare_cancel),
    "retry": ("job.retry", "api-job-retry", gettext_lazy("Retry jobs"), prepare_retry),
    "priority": ("job.prioritise", "api-job-priority", gettext_lazy("Set the priority of jobs"), prepare_prioritise),
}
