"""Pages of one sweep. The list is in lists.py, the form of a new one in apps/web/new_job."""

from __future__ import annotations

import json

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.errors import Conflict
from apps.core.messages import translate_message
from apps.core.policy import is_allowed
from apps.ml.sweeps import presenters, queries, services
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline
from apps.platform.jobs.kinds import KINDS


@require_safe
def show_sweep(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/sweeps/<id>: the best so far, what mattered, every trial and why it was stopped."""
    actor, where = get_project_context(request, project)
    sweep = queries.get_sweep(actor, where, pk)
    context = {
        "nav": "jobs",
        "sweep": sweep,
        "kind": KINDS.get(sweep.kind),
        "may_cancel": not sweep.ended and is_allowed(actor, "sweep.cancel", sweep),
        "may_submit": is_allowed(actor, "sweep.submit", sweep),
        "events": get_timeline(actor, "sweep", sweep.pk),
        "document": json.dumps(json.loads(sweep.document), ensure_ascii=False, indent=2),
        **presenters.build_overview(sweep, queries.list_trials(sweep), where.slug),
    }
    return render(request, "sweeps/sweep.html", context)


@require_POST
def cancel(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Cancel it with a reason; one that has ended meanwhile is said, not an error page."""
    actor, where = get_project_context(request, project)
    sweep = queries.get_sweep(actor, where, pk)
    try:
        services.cancel_sweep(actor=actor, sweep=sweep, reason=request.POST.get("reason", "").strip()[:500])
    except Conflict as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("The sweep is cancelled; the workers were asked to stop what runs."))
    return redirect("sweeps:detail", project=where.slug, pk=sweep.pk)
