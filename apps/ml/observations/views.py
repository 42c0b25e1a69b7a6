"""Pages of one source: what was answered, how much of it is labelled, how good it was; and a dataset of a period."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.policy import is_allowed, require
from apps.ml.observations import presenters, queries
from apps.ml.observations.forms import PeriodForm, SettingsForm
from apps.ml.observations.models import ObservationSource
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline


@require_safe
def show_source(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/observations/<source>: narrowed by the query."""
    actor, where = get_project_context(request, project)
    return render_source(request, actor, queries.get_source(actor, where, name))


@require_POST
def change_settings(request: HttpRequest, project: str, name: str) -> HttpResponse | HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    source = queries.get_source(actor, where, name)
    require(actor, "observation.configure", source)
    form = SettingsForm(request.POST)
    if form.save(actor, source) is None:
        return render_source(request, actor, source, settings_form=form, status=422)
    messages.success(request, _("The settings are saved."))
    return redirect("observations:detail", project=where.slug, name=source.name)


@require_POST
def make_dataset(request: HttpRequest, project: str, name: str) -> HttpResponse | HttpResponseRedirect:
    """Queue the job that makes a dataset version of a period, and go to it."""
    actor, where = get_project_context(request, project)
    source = queries.get_source(actor, where, name)
    require(actor, "observation.make_dataset", source)
    form = PeriodForm(request.POST, queries.list_versions(actor, source))
    job = form.save(actor, source)
    if job is None:
        return render_source(request, actor, source, period_form=form, status=422)
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


def render_source(
    request: HttpRequest,
    actor: Actor,
    source: ObservationSource,
    *,
    settings_form: SettingsForm | None = None,
    period_form: PeriodForm | None = None,
    status: int = 200,
) -> HttpResponse:
    versions = queries.list_versions(actor, source)
    wrong: Invalid | None = None
    try:
        filters = presenters.read_filters(request.GET.dict())
    except Invalid as error:
        filters, wrong, status = presenters.read_filters({}), error, 422
    base = request.build_absolute_uri("/").rstrip("/")
    context: dict[str, Any] = {
        "nav": "models",
        "source": source,
        "kind": dict(presenters.list_kinds())[source.kind],
        "task": dict(presenters.list_tasks())[source.task],
        "filters": presenters.build_filter_bar(filters, versions),
        "active": any(request.GET.get(field) for field in presenters.FILTERS),
        "wrong": wrong,
        "has_rows": bool(versions),
        "waiting": queries.count_waiting_labels(actor, source),
        "commands": presenters.build_commands(base, source.project, source),
        "may_configure": is_allowed(actor, "observation.configure", source),
        "may_make": is_allowed(actor, "observation.make_dataset", source),
        "settings_form": settings_form or SettingsForm.of(source),
        "period_form": period_form or PeriodForm.of(source, filters.period, filters.version, versions),
        "events": get_timeline(actor, "observationsource", source.pk, limit=5),
        **presenters.build_overview(actor, source, filters),
    }
    return render(request, "observations/source.html", context, status=status)
