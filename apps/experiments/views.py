"""Pages of runs: the list, one run with its tabs, several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apps.accounts.models import Project
from apps.actors import Actor
from apps.audit.reads import timeline
from apps.errors import Invalid
from apps.experiments import reads, shown
from apps.experiments.models import Metric, Run
from apps.experiments.reads import Asked, Columns
from apps.experiments.states import RunState
from apps.jobs.kinds import KINDS
from apps.jobs.views import within
from apps.lineage.reads import graph
from apps.lineage.steps import rows_of, strip_of
from apps.pages import Page, page_asked
from apps.policy import allows

TABS = ("overview", "metrics", "artifacts", "environment", "lineage", "audit")
DEPTH = 6  # from a run back to the upload: job, cleaned version, job, upload
LISTED = 3  # metrics, and params, that a list opens with
METRICS = 200  # of one run, on its page
ARTIFACTS = 200
EXPERIMENTS = 100  # that the filter offers


# -- the list -------------------------------------------------------------------------------------------------------
@require_safe
def run_list(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/runs: newest first or by a metric, narrowed by the query; nonsense is said, and shows nothing."""
    actor, where = within(request, project)
    asked = Asked(**{name: request.GET.get(name, "")[:200] for name in reads.FILTERS})
    wrong: Invalid | None = None
    try:
        page, key = page_of_runs(request, actor, where, asked)
    except Invalid as error:
        wrong, page, key = error, Page([], None, None), ""
    columns = reads.columns_of(page.items, first=filter(None, [key, *shown.figure_keys(page.items)]))
    asked_for = set(request.GET.getlist("col"))
    picked = Columns(
        [name for name in columns.metrics if name in asked_for] if asked_for else columns.metrics[:LISTED],
        [name for name in columns.params if name in asked_for] if asked_for else columns.params[:LISTED],
    )
    context = {
        "nav": "runs",
        "page": page,
        "rows": rows_shown(page.items, columns),
        "columns": picked,
        "choice": [
            {"key": name, "label": name, "shown": name in {*picked.params, *picked.metrics}}
            for name in [*columns.params, *columns.metrics]
        ],
        "keep": {name: value for name, value in request.GET.items() if name not in ("col", "cursor")},
        "best": best_run(page.items, columns),
        "filters": filter_bar(actor, where, asked),
        "active": any(request.GET.get(name) for name in reads.FILTERS),
        "ordered_by": key,
        "wrong": wrong,
        "counts": counts_of(actor, where),
        "may_submit": allows(actor, "job.submit", where),
    }
    return render(request, "experiments/list.html", context, status=wrong.status if wrong else 200)


def page_of_runs(request: HttpRequest, actor: Actor, project: Project, asked: Asked) -> tuple[Page[Run], str]:
    """A page in the order that the query asks for, and the metric of that order."""
    key, down = reads.order_of(request.GET.get("sort", ""))
    order = reads.page_order(key, down)
    if not key:
        return page_asked(reads.list_runs(actor, project, asked), request.GET, order=order), ""
    found = page_asked(reads.list_by_metric(actor, project, asked, key), request.GET, order=order)
    return Page([metric.run for metric in found.items], found.next, found.previous), key


def rows_shown(runs: Sequence[Run], columns: Columns) -> list[dict[str, Any]]:
    return [
        {"run": run, "params": columns.given.get(run.pk, {}), "metrics": columns.values.get(run.pk, {})} for run in runs
    ]


def best_run(runs: Sequence[Run], columns: Columns) -> dict[str, Any] | None:
    """The best of these by the first metric of which it is known what is better."""
    known = shown.directions(runs, columns.metrics)
    for key in columns.metrics:
        metrics = [columns.values.get(run.pk, {}).get(key) for run in runs]
        best = shown.best_of(metrics, known[key]) if key in known else None
        if best is not None:
            return {"run": next(run for run in runs if run.pk == best.run_id), "key": key, "value": best.value}
    return None


def counts_of(actor: Actor, project: Project) -> dict[str, int]:
    """Runs that are open, and that failed in the last 24 hours; one query over the ends of an index."""
    day = timezone.now() - timedelta(days=1)
    asked = Q(state=RunState.RUNNING) | Q(state=RunState.FAILED, started_at__gte=day)
    runs = Run.objects.visible_to(actor).filter(asked, project=project)
    found = dict(runs.order_by().values_list("state").annotate(Count("pk")))
    return {"running": found.get(RunState.RUNNING, 0), "failed": found.get(RunState.FAILED, 0)}


def filter_bar(actor: Actor, project: Project, asked: Asked) -> list[dict[str, Any]]:
    states = [("", _("Every status")), *((value, str(word)) for value, word in RunState.choices)]
    kinds = [("", _("Every kind")), *((key, str(kind.label)) for key, kind in KINDS.items() if kind.tracked)]
    groups = [(str(one.number), one.name) for one in reads.list_experiments(actor, project)[:EXPERIMENTS]]
    experiments = [("", _("Every experiment")), *groups]
    return [
        {"name": "name", "label": _("Name"), "value": asked.name},
        {"name": "status", "label": _("Status"), "value": asked.status, "choices": states},
        {"name": "kind", "label": _("Kind"), "value": asked.kind, "choices": kinds},
        {"name": "experiment", "label": _("Experiment"), "value": asked.experiment, "choices": experiments},
    ]


# -- one run --------------------------------------------------------------------------------------------------------
@require_safe
def run_page(request: HttpRequest, project: str, run: str, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/runs/<id>[/<tab>]"""
    actor, where = within(request, project)
    found = reads.get_run(actor, where, run)
    metrics = in_order(list(reads.list_metrics(actor, found).order_by("key")[:METRICS]))
    context: dict[str, Any] = {
        "nav": "runs",
        "run": found,
        "tab": tab,
        "job": found.job,
        "measured": shown.measured(found.figures),
        "size": shown.size_change(found.figures),
        "metrics": metrics,
        "losses": shown.drawn_first(metrics),
        "live": not found.ended and found.job is not None and not found.job.ended,
    }
    return render(request, f"experiments/{tab}.html", context | tab_context(request, actor, found, metrics, tab))


def in_order(metrics: Sequence[Metric]) -> list[Metric]:
    by_key = {metric.key: metric for metric in metrics}
    return [by_key[key] for key in reads.preferred(by_key)]


def tab_context(request: HttpRequest, actor: Actor, run: Run, metrics: Sequence[Metric], tab: str) -> dict[str, Any]:
    """What only this tab shows."""
    match tab:
        case "overview":
            params = reads.params_of(actor, run)
            return chart_context(request, run, metrics) | {"params": params, "artifacts": artifacts_of(run)}
        case "metrics":
            return chart_context(request, run, metrics) | {"limit": METRICS}
        case "artifacts":
            return {"artifacts": artifacts_of(run), "limit": ARTIFACTS}
        case "environment":
            return {"environment": run.environment, "packages": (run.environment.get("packages") or {}).items()}
        case "lineage":
            found = graph(actor, run.project, "run", run.pk, depth=DEPTH)
            slug = run.project.slug
            return {"graph": found, "steps": strip_of(found, slug), "rows": rows_of(found, slug)}
        case "audit":
            return {"events": timeline(actor, "run", run.pk)}
    return {}


def artifacts_of(run: Run) -> list[Any]:
    return list(run.artifacts.order_by("path")[:ARTIFACTS])


def chart_context(request: HttpRequest, run: Run, metrics: Sequence[Metric]) -> dict[str, Any]:
    """The chart of the metrics that the query names, or of the losses."""
    asked = request.GET.getlist("key")[: shown.LINES]
    picked = [metric for metric in metrics if metric.key in asked] or shown.drawn_first(metrics)
    if not picked:
        return {"chart": None}
    keys = [metric.key for metric in picked]
    query = urlencode({"ids": run.pk, "key": keys}, doseq=True)
    csv = f"{reverse('api-runs-csv', args=[run.project.slug])}?{query}"
    unit = keys[0] if len(keys) == 1 else _("loss") if all(map(reads.is_loss, keys)) else _("value")
    series = [shown.series_of(line, line.metric.key) for line in reads.lines_of(picked)]
    chart = shown.chart_of(series, y_unit=unit, csv=csv, scale=request.GET.get("scale", ""))
    return {"chart": chart, "drawn": keys}


# -- several runs ---------------------------------------------------------------------------------------------------
@require_safe
def compare(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/runs/compare?ids=: what differs first, the lines over each other."""
    actor, where = within(request, project)
    ids = reads.ids_in(request.GET.getlist("ids"))
    context: dict[str, Any] = {"nav": "runs", "low": reads.COMPARED[0], "high": reads.COMPARED[1]}
    try:
        found = reads.compare(actor, where, ids)
    except Invalid as error:
        return render(request, "experiments/compare.html", context | {"wrong": error}, status=error.status)
    series = shown.common_series(found.metrics)
    key = request.GET.get("key", "") if request.GET.get("key") in series else next(iter(series), "")
    metrics = shown.cells_of(found)
    context |= {
        "comparison": found,
        "runs": [{"run": run, "without": without(found.runs, run)} for run in found.runs],
        "ids": ",".join(run.pk for run in found.runs),
        "differing": [row for row in found.params if row.differs],
        "equal": [row for row in found.params if not row.differs],
        "made_with": shown.made_with(found.runs),
        "metrics": metrics,
        "best": next((row for row in metrics if row["best"]), None),
        "series": series,
        "key": key,
        "chart": overlaid(request, where, found, key) if key else None,
    }
    return render(request, "experiments/compare.html", context)


def without(runs: Sequence[Run], run: Run) -> str:
    """The ids that stay when one of three or more is taken out; empty for two."""
    return ",".join(other.pk for other in runs if other is not run) if len(runs) > reads.COMPARED[0] else ""


def overlaid(request: HttpRequest, project: Project, found: reads.Comparison, key: str) -> dict[str, Any]:
    """The lines of one metric of these runs; a run without it keeps its place, and the others their strokes."""
    row = next(row for row in found.metrics if row.key == key)
    lines = {line.metric.run_id: line for line in reads.lines_of([metric for metric in row.values if metric])}
    query = urlencode({"ids": ",".join(run.pk for run in found.runs), "key": key})
    return shown.chart_of(
        [
            shown.series_of(
                lines.get(run.pk), short_name(run), reverse("experiments:detail", args=[project.slug, run.pk])
            )
            for run in found.runs
        ],
        y_unit=key,
        csv=f"{reverse('api-runs-csv', args=[project.slug])}?{query}",
        scale=request.GET.get("scale", ""),
    )


def short_name(run: Run) -> str:
    """A name that tells runs apart: many share the name that a person gave them."""
    return f"{run.name[:24]} {run.pk[:8]}"
