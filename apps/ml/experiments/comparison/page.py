"""Several runs side by side: which is best, what differs, their lines over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.ml.experiments import presenters, queries
from apps.ml.experiments.comparison import analysis, parallel_coordinates, provenance
from apps.ml.experiments.metrics import chart_options
from apps.ml.experiments.metrics.chart_options import Look
from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.queries import Asked, Comparison
from apps.ml.experiments.ranking import LEARNED_PARAMS, find_obstacle
from apps.platform.accounts.models import Project
from apps.platform.jobs.views import get_project_context

OFFERED = 50  # newest runs that can be added; any other by its id
LABEL = 24
SCATTERED = ("sx", "sy", "sc")  # across, up, and what the points are shaded by


@require_safe
def compare(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/runs/compare?ids=: the selection is the address."""
    actor, where = get_project_context(request, project)
    ids = queries.ids_in(request.GET.getlist("ids"))
    context: dict[str, Any] = {"nav": "runs", "low": queries.COMPARED[0], "high": queries.COMPARED[1]}
    try:
        found = queries.compare(actor, where, ids)
    except Invalid as error:
        known = {"wrong": error, "ids": ",".join(ids), "offered": offered(actor, where, ids), "picked": len(ids)}
        return render(request, "experiments/compare.html", context | known, status=error.status)
    look, wrong = chart_options.look_or_why(request.GET)
    context |= shown_of(request, where, found, look) | {"wrong_look": wrong}
    if len(found.runs) < queries.COMPARED[1]:
        context["offered"] = offered(actor, where, ids)
    wrong = wrong or context["wrong_axes"]
    return render(request, "experiments/compare.html", context, status=wrong.status if wrong else 200)


def learned_params(found: Comparison) -> dict[str, dict[str, str]]:
    """{run: {parameter: value}} of those that say what a run learned."""
    known: dict[str, dict[str, str]] = {run.pk: {} for run in found.runs}
    for row in found.params:
        for run, value in zip(found.runs, row.values, strict=True) if row.key in LEARNED_PARAMS else ():
            if value is not None:
                known[run.pk][row.key] = value
    return known


def shown_of(request: HttpRequest, where: Project, found: Comparison, look: Look) -> dict[str, Any]:
    series = presenters.common_series(found.metrics)
    key = request.GET.get("key", "") if request.GET.get("key") in series else next(iter(series), "")
    obstacle = find_obstacle(found.runs, None if found.truncated else learned_params(found))
    metrics = analysis.cells_of(found, ranked=not obstacle)
    tags = queries.source_tags(found.runs)
    best = next((row for row in metrics if row["best"]), None)
    names = [(short_name(run), reverse("experiments:detail", args=[where.slug, run.pk])) for run in found.runs]
    asked = tuple(request.GET.get(name, "") for name in SCATTERED)
    lines, wrong_axes = axes_or_why(request.GET, found, best["key"] if best else "", names)
    look = chart_options.fitted(
        look, values_of(found, key), "relative"
    )  # on one clock they would stand behind each other
    only = request.GET.get("metrics") == "differing"
    return {
        "comparison": found,
        "runs": [{"run": run, "without": without(found.runs, run)} for run in found.runs],
        "ids": ",".join(run.pk for run in found.runs),
        "differing": [row for row in found.params if row.differs],
        "equal": [row for row in found.params if not row.differs],
        "code": provenance.code_of(found.runs, tags),
        "environment": provenance.environment_of(found.runs),
        "metrics": [row for row in metrics if not only or varies(row)],
        "only": only,
        "same_metrics": sum(not varies(row) for row in metrics),
        "parallel": lines,
        "wrong_axes": wrong_axes,
        "parallel_keep": parallel_coordinates.kept(request.GET),
        "asked_z": asked[2],
        "obstacle": obstacle,
        "best": best,
        "best_runs": [run for run in found.runs if best and run.pk in best["winners"]],
        "undecided": analysis.undecided(best) if best else 0,
        "series": series,
        "key": key,
        "chart": overlaid(where, found, key, look) if key else None,
        "look": look.asked,
        "keep": chart_options.kept(request.GET, "key"),
        "bars": analysis.bars_of(best, names),
        "scatter": analysis.scatter_of(found, asked, best["key"] if best else "", names),
        "scatter_keep": [(name, value) for name, value in request.GET.items() if name not in SCATTERED],
    }


def axes_or_why(
    query: QueryDict, found: Comparison, best: str, names: Sequence[tuple[str, str]]
) -> tuple[dict[str, Any] | None, Invalid | None]:
    """The parallel coordinates that are asked for; or the usual ones, and what is wrong."""
    try:
        return parallel_coordinates.parallel_of(found, query, best, names), None
    except Invalid as error:
        return parallel_coordinates.parallel_of(found, QueryDict(), best, names), error


def varies(row: Mapping[str, Any]) -> bool:
    """Whether the newest values of a metric are not the same in all runs."""
    return len({None if cell is None else repr(cell.number) for cell in row["cells"]}) > 1


def offered(actor: Actor, where: Project, chosen: Sequence[str]) -> list[Run]:
    """The newest runs that are not chosen yet."""
    newest = queries.list_runs(actor, where, Asked()).order_by("-started_at", "-id")[: OFFERED + len(chosen)]
    return [run for run in newest if run.pk not in chosen][:OFFERED]


def without(runs: Sequence[Run], run: Run) -> str:
    """The ids that stay when one of three or more is taken out; empty for two."""
    return ",".join(other.pk for other in runs if other is not run) if len(runs) > queries.COMPARED[0] else ""


def overlaid(project: Project, found: Comparison, key: str, look: Look) -> dict[str, Any]:
    """The lines of one metric of these runs; a run without it keeps its place, and the others their strokes."""
    drawn = chart_options.lines_in(values_of(found, key), found.runs, look)
    lines = {line.metric.run_id: line for line in drawn}
    query = urlencode({"ids": ",".join(run.pk for run in found.runs), "key": key})
    series = [
        chart_options.series_of(
            lines.get(run.pk),
            short_name(run),
            reverse("experiments:detail", args=[project.slug, run.pk]),
            run.pk[:8],
        )
        for run in found.runs
    ]
    return chart_options.chart_of(
        series, look, y_unit=key, csv=f"{reverse('api-runs-csv', args=[project.slug])}?{query}", toggles=True
    )


def values_of(found: Comparison, key: str) -> list[Metric]:
    """One metric of those of these runs that have it."""
    return [metric for row in found.metrics if row.key == key for metric in row.values if metric]


def short_name(run: Run) -> str:
    """A name that tells runs apart: many share the name that a person gave them."""
    return f"{run.name[:LABEL]} {run.pk[:8]}"
