"""Pages of a new sweep: which kind of job it varies, and its form."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.core import policy
from apps.core.errors import NotFound
from apps.ml.sweeps.checks import list_tunable_kinds
from apps.platform.accounts.projects import get_project_context
from apps.platform.jobs.kinds import KINDS
from apps.web.new_job.layout import group_kinds
from apps.web.new_job.sweep_form import SweepForm
from apps.web.new_job.train_modes import TAKE_OVER


@require_safe
def choose_kind(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/sweeps/new: what shall it vary?"""
    actor, where = get_project_context(request, project)
    policy.require(actor, "sweep.submit", where)
    return render(request, "new_job/sweep_kinds.html", {"nav": "jobs", "groups": group_kinds(list_tunable_kinds())})


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest, project: str, kind: str) -> HttpResponse:
    """/p/<slug>/sweeps/new/<kind>: blank, or with the spec and inputs of another job (?from=).

    POST with op=check answers the form with errors for htmx; op=add:…, del:…, up:… and down:… change a list;
    op=take-over fills in what was typed in another form of the same kind; op=submit begins the sweep.
    """
    actor, where = get_project_context(request, project)
    policy.require(actor, "sweep.submit", where)
    if kind not in list_tunable_kinds():
        limit = ", ".join(list_tunable_kinds())
        raise NotFound("A {kind} job cannot be tuned.", kind=kind[:40], field="kind", limit=limit)
    form = SweepForm(actor, where, kind)
    if request.method == "POST" and request.POST.get("op") == TAKE_OVER:
        form.take_over(request.POST)
    elif request.method == "POST":
        form.bind(request.POST)
        sweep = form.handle(request.POST.get("op", "submit"))
        if sweep is not None:
            messages.success(request, _("Sweep %(number)s has begun.") % {"number": sweep.pk})
            return redirect("sweeps:detail", project=where.slug, pk=sweep.pk)
    else:
        form.fill_from_query(request.GET)
    page = "new_job/sweep_form.html" if request.htmx else "new_job/sweep.html"  # type: ignore[attr-defined]
    alone = bool(request.htmx) and request.POST.get("op") == "check"  # type: ignore[attr-defined]
    context = {"nav": "jobs", "key": kind, "kind": KINDS[kind], "form": form, "alone": alone}
    return render(request, page, context, status=form.status)
