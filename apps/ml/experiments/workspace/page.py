"""The charts of the selected runs beside the list, and the forms that keep panels for the project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.lists.listing import parse_names
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.ml.experiments.metrics import chart_options
from apps.ml.experiments.models import Run
from apps.ml.experiments.queries import COMPARED_RUNS_LIMITS, RUN_ID
from apps.ml.experiments.services.panels import MAX_METRICS, MAX_PANELS, add_panel, remove_panel, update_panel
from apps.ml.experiments.workspace.panels import (
    SelectedCharts,
    build_selected_charts,
    get_panel,
    group_keys,
    list_panels,
)
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.bulk_actions import get_return_url

SELECTED = "selected"  # of the query: the runs that are drawn


@require_safe
def show_panels(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/runs/panels?selected=: a page of the charts, and the part of it that the list puts beside its rows."""
    actor, where = get_project_context(request, project)
    context = {"nav": "runs", **build_panels_context(request, actor, where)}
    is_part = "X-Plane-Poll" in request.headers
    template = "experiments/panels_part.html" if is_part else "experiments/panels.html"
    answer = render(request, template, context)
    answer["Cache-Control"] = "private, no-store"
    return answer


def build_list_context(request: HttpRequest, project: Project) -> dict[str, Any]:
    """What the list needs for the place beside its rows; the charts are fetched once the page is there. No query."""
    selected = parse_selection(request.GET)
    return {
        "selected_ids": dict.fromkeys(selected, True),
        "panels_pending": bool(selected),
        "max_selected": COMPARED_RUNS_LIMITS[1],
        "panels_url": reverse("experiments:panels", args=[project.slug]),
    }


def build_panels_context(request: HttpRequest, actor: Actor, project: Project) -> dict[str, Any]:
    """The charts of the selected runs; without a selection no query."""
    runs = load_selected_runs(actor, project, parse_selection(request.GET))
    look, wrong = chart_options.parse_options_or_error(request.GET)
    panels = list_panels(actor, project) if runs else []
    selected = build_selected_charts(project, runs, panels, look) if runs else SelectedCharts()
    list_url = reverse("experiments:list", args=[project.slug])
    query = request.META.get("QUERY_STRING", "")
    return {
        "list_url": list_url,
        "panels_back": f"{list_url}?{query}" if query else list_url,
        "selected_runs": runs,
        "panels": selected.charts,
        "panel_keys": group_keys(selected.keys),
        "has_saved_panels": bool(panels),
        "may_set_panels": is_allowed(actor, "run.set_panels", project),
        "panels_left": MAX_PANELS - len(panels),
        "max_metrics": MAX_METRICS,
        "max_selected": COMPARED_RUNS_LIMITS[1],
        "panels_url": reverse("experiments:panels", args=[project.slug]),
        "is_zoomed": bool(look.window or look.part),
        "wrong_look": wrong,
    }


def parse_selection(params: QueryDict) -> list[str]:
    """The selected runs as the address names them; what is no run's id is left out."""
    run_ids = [run_id for run_id in parse_names(params, SELECTED) if RUN_ID.fullmatch(run_id)]
    return run_ids[: COMPARED_RUNS_LIMITS[1]]


def load_selected_runs(actor: Actor, project: Project, run_ids: Sequence[str]) -> list[Run]:
    """Those of these runs that the actor may see, in the order of the selection. One query at most."""
    if not run_ids:
        return []
    visible = Run.objects.visible_to(actor).filter(project=project).defer("environment", "figures")
    runs = visible.in_bulk(list(run_ids))
    return [runs[run_id] for run_id in run_ids if run_id in runs]


# -- panels ---------------------------------------------------------------------------------------------------------
@require_POST
def save_new_panel(request: HttpRequest, project: str) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    try:
        add_panel(actor=actor, project=where, **read_panel_form(request.POST))
    except (Conflict, Invalid) as error:
        messages.error(request, translate_error(error))
    else:
        messages.success(request, _("The panel is added, for everybody of the project."))
    return redirect(get_return_url(request, reverse("experiments:list", args=[where.slug])))


@require_POST
def save_panel(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Change a panel, or with do=remove take it away."""
    actor, where = get_project_context(request, project)
    panel = get_panel(actor, where, pk)
    try:
        if request.POST.get("do") == "remove":
            remove_panel(actor=actor, panel=panel)
        else:
            update_panel(actor=actor, panel=panel, **read_panel_form(request.POST))
    except Invalid as error:
        messages.error(request, translate_error(error))
    return redirect(get_return_url(request, reverse("experiments:list", args=[where.slug])))


def read_panel_form(form: QueryDict) -> dict[str, Any]:
    text = form.get("smooth", "").strip()[:20]
    try:
        smooth = float(text) if text else 0.0
    except ValueError:
        raise Invalid("{text!r} is no weight of smoothing.", text=text, field="smooth", limit="0 to 0.999") from None
    metrics = [key.strip() for key in form.getlist("metrics")]
    return {
        "metrics": metrics,
        "title": form.get("title", ""),
        "axis": form.get("axis", ""),
        "scale": form.get("scale", ""),
        "smooth": smooth,
    }
