"""Pages of jobs: the list, one job with its tabs, and the three things to do to it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import Project
from apps.accounts.projects import get_project
from apps.actors import Actor
from apps.audit.reads import timeline as audit_timeline
from apps.errors import Conflict, Invalid
from apps.jobs import reads, services
from apps.jobs.checkpoints import get_checkpoint
from apps.jobs.kinds import KINDS
from apps.jobs.models import Job, JobEvent
from apps.jobs.states import JobState
from apps.pages import page_asked
from apps.policy import allows

TABS = ("overview", "log", "spec", "outputs", "audit")  # and lineage, whose app stands above this one
TAIL = 200  # lines that the overview opens with; the rest is in the log's tab
LOG_PAGE = 500
METRICS_SHOWN = 8


def within(request: HttpRequest, slug: str) -> tuple[Actor, Project]:
    """Who asks, and the project of the address, which the frame shows too; NotFound."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    project = get_project(actor, slug)
    request.project = project  # type: ignore[attr-defined]
    return actor, project


# -- the list -------------------------------------------------------------------------------------------------------
@require_safe
def job_list(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/jobs: newest first, narrowed by the query; a filter of nonsense is said, and shows nothing."""
    actor, where = within(request, project)
    asked = {name: request.GET.get(name, "")[:200] for name in reads.FILTERS}
    wrong: Invalid | None = None
    try:
        jobs = reads.list_jobs(actor, where, **asked)
    except Invalid as error:
        wrong, jobs = error, reads.list_jobs(actor, where).none()
    context = {
        "nav": "jobs",
        "page": page_asked(jobs, request.GET),
        "filters": filter_bar(asked),
        "active": any(asked.values()),
        "wrong": wrong,
        "counts": counts_of(actor, where),
        "may_submit": allows(actor, "job.submit", where),
    }
    return render(request, "jobs/list.html", context, status=wrong.status if wrong else 200)


def counts_of(actor: Actor, project: Project) -> dict[str, int]:
    """How many jobs run, queue and wait now, and failed in the last 24 hours. Two queries over small indices."""
    jobs = Job.objects.visible_to(actor).filter(project=project)
    moving = (JobState.RUNNING, JobState.QUEUED, JobState.WAITING)
    now = dict(jobs.filter(state__in=moving).order_by().values_list("state").annotate(Count("pk")))
    day = timezone.now() - timedelta(days=1)
    return {
        "running": now.get(JobState.RUNNING, 0),
        "queued": now.get(JobState.QUEUED, 0) + now.get(JobState.WAITING, 0),
        "failed": jobs.filter(state=JobState.FAILED, ended_at__gte=day).count(),
    }


def filter_bar(asked: dict[str, str]) -> list[dict[str, Any]]:
    states = [("", _("Every state")), *((value, str(word)) for value, word in JobState.choices)]
    kinds = [("", _("Every kind")), *((key, str(kind.label)) for key, kind in KINDS.items())]
    return [
        {"name": "name", "label": _("Name"), "value": asked["name"]},
        {"name": "state", "label": _("State"), "value": asked["state"], "choices": states},
        {"name": "kind", "label": _("Kind"), "value": asked["kind"], "choices": kinds},
        {"name": "requester", "label": _("Who"), "value": asked["requester"]},
    ]


# -- one job --------------------------------------------------------------------------------------------------------
@require_safe
def job_page(request: HttpRequest, project: str, pk: int, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/jobs/<id>[/<tab>]"""
    actor, where = within(request, project)
    job = reads.get_job(actor, where, pk)
    context = job_context(actor, job, tab)
    if tab == "overview":
        context |= overview(job)
    elif tab == "log":
        context |= log_context(job, request)
    elif tab == "spec":
        context |= {"spec_text": json.dumps(json.loads(job.spec), ensure_ascii=False, indent=2)}
    elif tab == "audit":
        context["events"] = audit_timeline(actor, "job", job.pk)
    return render(request, f"jobs/{tab}.html", context)


def job_context(actor: Actor, job: Job, tab: str) -> dict[str, Any]:
    """What the head of the page needs, whichever tab is open."""
    reads.load_slots(job)
    in_line = job.state in (JobState.WAITING, JobState.QUEUED)
    return {
        "nav": "jobs",
        "job": job,
        "tab": tab,
        "kind": KINDS.get(job.kind),
        "wait": reads.explain_wait(actor, job) if in_line else {"position": None, "summary": "", "nodes": []},
        "in_line": in_line,
        "live": not job.ended,
        "spec_rows": flat(json.loads(job.spec)),
        "may_cancel": not job.ended and not job.cancel_requested_at and allows(actor, "job.cancel", job),
        "may_retry": job.state in (JobState.FAILED, JobState.CANCELLED) and allows(actor, "job.retry", job),
        "may_prioritise": in_line and allows(actor, "job.prioritise", job),
        "may_submit": allows(actor, "job.submit", job),
    }


def overview(job: Job) -> dict[str, Any]:
    return {
        "lines": reads.log_lines(job, after=max(0, job.log_lines - TAIL)),
        "timeline": reads.timeline(job, limit=30),
        "metrics": newest_metrics(job),
        "checkpoint": get_checkpoint(job),
    }


def newest_metrics(job: Job) -> dict[str, Any]:
    """{name: the value reported last} of the metrics that the newest reports name."""
    found: dict[str, Any] = {}
    payloads = JobEvent.objects.filter(job=job, kind="metric").order_by("-seq").values_list("payload", flat=True)
    for payload in payloads[:METRICS_SHOWN]:
        for point in reversed(payload.get("points") or [payload]):
            if point.get("name") and len(found) < METRICS_SHOWN:
                found.setdefault(str(point["name"]), point.get("value"))
    return dict(reversed(found.items()))


def log_context(job: Job, request: HttpRequest) -> dict[str, Any]:
    """A page of the log: from a line, or what contains `q` and is of `level` or graver, searched over all lines."""
    ask = request.GET.get
    query, level = ask("q", "")[:200], ask("level", "")
    line, after = number_of(ask("line")), number_of(ask("after"))
    if line:
        after = max(0, line - 50)
    elif not (query or level or "after" in request.GET):
        after = max(0, job.log_lines - LOG_PAGE)  # the end is what one looks for
    lines = reads.log_lines(job, after=after, limit=LOG_PAGE, query=query, level=level if level in reads.LEVELS else "")
    full = len(lines) == LOG_PAGE and lines[-1]["number"] < job.log_lines
    searched = bool(query or level)
    return {
        "lines": lines,
        "query": query,
        "level": level,
        "searched": searched,
        "next_after": lines[-1]["number"] if full else None,
        "before": max(0, after - LOG_PAGE) if after and not searched else None,
        "follow": not job.ended and not searched and not full,
    }


def number_of(text: str | None) -> int:
    """A line number from a query; 0 for what is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """A spec as rows: ("outliers / method", "iqr"). Lists of values stay one row."""
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in flat(inner, f"{path} / {key}" if path else key)]
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return [row for index, entry in enumerate(value, 1) for row in flat(entry, f"{path} / {index}")]
    if isinstance(value, list):
        value = ", ".join(json.dumps(entry, ensure_ascii=False) for entry in value)
    return [(path, value)]


# -- what one can do to it ------------------------------------------------------------------------------------------
@require_POST
def cancel(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Cancel with a reason; a job that has ended meanwhile is said, not an error page."""
    actor, where = within(request, project)
    job = reads.get_job(actor, where, pk)
    try:
        services.cancel_job(actor=actor, job=job, reason=request.POST.get("reason", "").strip()[:500])
    except Conflict as error:
        messages.warning(request, error.message)
    else:
        ended = job.state == JobState.CANCELLED
        messages.success(request, _("The job is cancelled.") if ended else _("The worker was asked to stop the job."))
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


@require_POST
def retry(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Queue a failed or cancelled job again."""
    actor, where = within(request, project)
    job = reads.get_job(actor, where, pk)
    try:
        services.retry_job(actor=actor, job=job, reason=request.POST.get("reason", "").strip()[:500])
    except Conflict as error:
        messages.warning(request, error.message)
    else:
        messages.success(request, _("Job %(number)s is queued again.") % {"number": job.pk})
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


@require_POST
def prioritise(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Give a job that has not started another place in line."""
    actor, where = within(request, project)
    job = reads.get_job(actor, where, pk)
    try:
        priority = int(request.POST.get("priority", "").strip())
    except ValueError:
        messages.error(request, _("A priority is a whole number from -100 to 100."))
        return redirect("jobs:detail", project=where.slug, pk=job.pk)
    try:
        services.prioritise_job(actor=actor, job=job, priority=priority)
    except Conflict as error:
        messages.warning(request, error.message)
    else:
        messages.success(request, _("The priority is %(priority)s now.") % {"priority": priority})
    return redirect("jobs:detail", project=where.slug, pk=job.pk)
