"""Pages of one job: its tabs, and the three things to do to it. The list is in lists.py."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.messages import translate_message
from apps.core.policy import is_allowed
from apps.core.request_values import MAX_INT64, parse_int
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline as audit_timeline
from apps.platform.jobs import queries, services, tabs
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.tabs import flatten_spec

TABS = ("overview", "log", "metrics", "spec", "outputs", "audit")  # and lineage, whose app stands above this one


# -- one job --------------------------------------------------------------------------------------------------------
@require_safe
def show_job(request: HttpRequest, project: str, pk: int, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/jobs/<id>[/<tab>]"""
    actor, where = get_project_context(request, project)
    job = queries.get_job(actor, where, pk)
    context = build_job_context(actor, job, tab)
    match tab:
        case "overview":
            context |= tabs.build_overview_context(actor, job)
        case "log":
            context |= tabs.build_log_context(job, request.GET)
        case "metrics":
            context |= tabs.build_metrics_context(job)
        case "spec":
            context |= tabs.build_spec_context(job)
        case "audit":
            context["events"] = audit_timeline(actor, "job", job.pk)
    return render(request, f"jobs/{tab}.html", context)


@require_safe
def redirect_to_first_line(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """/p/<slug>/jobs/<id>/log/first?level=error: on to the first line that is as grave. All lines are looked at."""
    actor, where = get_project_context(request, project)
    job = queries.get_job(actor, where, pk)
    return redirect(tabs.get_first_line_url(job, where.slug, request.GET.get("level", "")))


def build_job_context(actor: Actor, job: Job, tab: str) -> dict[str, Any]:
    """What the head of the page needs, whichever tab is open."""
    queries.load_slots(job)
    in_line = job.state in (JobState.WAITING, JobState.QUEUED)
    return {
        "nav": "jobs",
        "job": job,
        "tab": tab,
        "kind": KINDS.get(job.kind),
        "wait": queries.explain_wait(actor, job) if in_line else {"position": None, "summary": "", "nodes": []},
        "in_line": in_line,
        "live": not job.ended,
        "spec_rows": flatten_spec(json.loads(job.spec)),
        "may_cancel": not job.ended and not job.cancel_requested_at and is_allowed(actor, "job.cancel", job),
        "may_retry": (job.state in (JobState.FAILED, JobState.CANCELLED) or job.is_pausing)
        and is_allowed(actor, "job.retry", job),
        "may_prioritise": in_line and is_allowed(actor, "job.prioritise", job),
        "may_submit": is_allowed(actor, "job.submit", job),
    }


# -- what one can do to it ------------------------------------------------------------------------------------------
@require_POST
def cancel(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Cancel with a reason; a job that has ended meanwhile is said, not an error page."""
    actor, where = get_project_context(request, project)
    job = queries.get_job(actor, where, pk)
    try:
        services.cancel_job(actor=actor, job=job, reason=request.POST.get("reason", "").strip()[:500])
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        ended = job.state == JobState.CANCELLED
        messages.success(request, _("The job is cancelled.") if ended else _("The worker was asked to stop the job."))
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


@require_POST
def retry(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Queue a failed or cancelled job again."""
    actor, where = get_project_context(request, project)
    job = queries.get_job(actor, where, pk)
    try:
        services.retry_job(actor=actor, job=job, reason=request.POST.get("reason", "").strip()[:500])
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("Job %(number)s is queued again.") % {"number": job.pk})
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


@require_POST
def prioritise(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Give a job that has not started another place in line."""
    actor, where = get_project_context(request, project)
    job = queries.get_job(actor, where, pk)
    priority = parse_int(request.POST.get("priority", "").strip(), -MAX_INT64)
    if priority is None:
        messages.error(request, _("A priority is a whole number from -100 to 100."))
        return redirect("jobs:detail", project=where.slug, pk=job.pk)
    try:
        services.prioritise_job(actor=actor, job=job, priority=priority)
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("The priority is %(priority)s now.") % {"priority": priority})
    return redirect("jobs:detail", project=where.slug, pk=job.pk)
