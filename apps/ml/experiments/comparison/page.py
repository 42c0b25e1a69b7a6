"""The comparison page: best run, differing params, provenance and overlaid charts."""

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
from apps.ml.experiments.metrics.chart_options import ChartOptions
from apps.ml.experiments.metrics.series import is_system
from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.queries import RunComparison, RunFilters
from apps.ml.experiments.ranking import LEARNED_PARAMS, TEST, find_group_obstacle, load_ranking_facts
from apps.ml.experiments.run_labels import label_runs
from apps.ml.experiments.workspace.ranking_text import describe_group
from apps.ml.experiments.workspace.run_data import load_input_names, load_run_datasets, load_run_models
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context

OFFERED = 50  # newest runs that can be added; any other by its id
LABEL, NARROW_LABEL = 32, 16  # characters of a run's name above its column
NARROW_RUNS = 5  # from here on columns are narrow
PARALLEL_RUNS = 3  # of two runs, parallel coordinates say no more than the table
SCATTERED = ("sx", "sy", "sc")  # across, up, and what the points are shaded by


@require_safe
def compare(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/runs/compare?ids=: the selection is the address."""
    actor, where = get_project_context(request, project)
    ids = queries.parse_run_ids(request.GET.getlist("ids"))
    context: dict[str, Any] = {
        "nav": "runs",
        "low": queries.COMPARED_RUNS_LIMITS[0],
        "high": queries.COMPARED_RUNS_LIMITS[1],
    }
    try:
        comparison = queries.compare_runs(actor, where, ids)
    except Invalid as error:
        error_context = {
            "wrong": error,
            "ids": ",".join(ids),
            "offered": list_addable_runs(actor, where, ids),
            "picked": len(ids),
        }
        return render(request, "experiments/compare.html", context | error_context, status=error.status)
    look, wrong = chart_options.parse_options_or_error(request.GET)
    context |= build_context(request, where, comparison, look) | {"wrong_look": wrong}
    context |= build_name_context(actor, where, comparison.runs)
    if len(comparison.runs) < queries.COMPARED_RUNS_LIMITS[1]:
        context["offered"] = list_addable_runs(actor, where, ids)
    wrong = wrong or context["wrong_axes"]
    return render(request, "experiments/compare.html", context, status=wrong.status if wrong else 200)


def get_learned_params(comparison: RunComparison) -> dict[str, dict[str, str]]:
    """{run: {parameter: value}} of those that say what a run learned."""
    params: dict[str, dict[str, str]] = {run.pk: {} for run in comparison.runs}
    for row in comparison.params:
        for run, value in zip(comparison.runs, row.values, strict=True) if row.key in LEARNED_PARAMS else ():
            if value is not None:
                params[run.pk][row.key] = value
    return params


def build_name_context(actor: Actor, project: Project, runs: Sequence[Run]) -> dict[str, Any]:
    """What the runs read and became, by name: `links` of each run, and `data_names`, {digest: VersionLink}."""
    names = load_input_names(actor, project, runs)
    datasets, models = load_run_datasets(actor, project, runs, names), load_run_models(actor, project, runs)
    return {
        "links": [{"datasets": datasets.get(run.pk, []), "models": models.get(run.pk, [])} for run in runs],
        "has_datasets": bool(datasets),
        "has_models": bool(models),
        "data_names": names,
    }


def build_context(
    request: HttpRequest, project: Project, comparison: RunComparison, look: ChartOptions
) -> dict[str, Any]:
    series = presenters.list_common_series(comparison.metrics)
    key = request.GET.get("key", "") if request.GET.get("key") in series else next(iter(series), "")
    learned = None if comparison.truncated else get_learned_params(comparison)
    facts = load_ranking_facts(comparison.runs, learned)
    groups = {name: facts.group_runs(name) for name in ("", TEST)}
    obstacles = {name: find_group_obstacle(of_runs.values()) for name, of_runs in groups.items()}
    # A metric of held-out rows compares runs that learned from other data, if these rows are the same.
    metrics = analysis.build_metric_rows(
        comparison, is_ranked=lambda name: not obstacles[TEST if name.startswith(TEST) else ""]
    )
    has_tests = any(row["key"].startswith(TEST) for row in metrics)
    obstacle = obstacles[TEST if has_tests else ""]
    tags = queries.get_source_tags(comparison.runs)
    best = next((row for row in metrics if row["best"]), None)
    labels = label_columns(comparison.runs)
    names = [(labels[run.pk], reverse("experiments:detail", args=[project.slug, run.pk])) for run in comparison.runs]
    scatter_axes = tuple(request.GET.get(name, "") for name in SCATTERED)
    lines, wrong_axes = build_axes_or_error(request.GET, comparison, best["key"] if best else "", names)
    look = chart_options.fit_axis(
        look, get_metric_values(comparison, key), "relative"
    )  # on one clock they would stand behind each other
    only = request.GET.get("metrics") == "differing"
    return {
        "comparison": comparison,
        "runs": [
            {"run": run, "label": labels[run.pk], "without": format_remaining_ids(comparison.runs, run)}
            for run in comparison.runs
        ],
        "group": describe_group(groups[TEST if has_tests else ""][comparison.runs[0].pk]),
        "ids": ",".join(run.pk for run in comparison.runs),
        "differing": [row for row in comparison.params if row.differs],
        "equal": [row for row in comparison.params if not row.differs],
        "code": provenance.compare_code(comparison.runs, tags),
        "environment": provenance.compare_environment(comparison.runs),
        "metrics": [row for row in metrics if not is_system(row["key"]) and (not only or is_varying(row))],
        "system_metrics": [row for row in metrics if is_system(row["key"]) and (not only or is_varying(row))],
        "only": only,
        "same_metrics": sum(not is_varying(row) for row in metrics),
        "parallel": lines if len(comparison.runs) >= PARALLEL_RUNS else None,
        "wrong_axes": wrong_axes,
        "parallel_keep": parallel_coordinates.list_kept_params(request.GET),
        "asked_z": scatter_axes[2],
        "obstacle": obstacle,
        "best": best,
        "best_runs": [run for run in comparison.runs if best and run.pk in best["winners"]],
        "best_name": next((labels[run.pk] for run in comparison.runs if best and run.pk in best["winners"]), ""),
        "undecided": analysis.count_undecided(best) if best else 0,
        "series": series,
        "key": key,
        "chart": build_overlay_chart(project, comparison, key, look) if key else None,
        "look": look.as_query,
        "keep": chart_options.list_kept_params(request.GET, "key"),
        "bars": analysis.build_bar_chart(best, names),
        "scatter": analysis.build_scatter(comparison, scatter_axes, best["key"] if best else "", names),
        "scatter_keep": [(name, value) for name, value in request.GET.items() if name not in SCATTERED],
    }


def build_axes_or_error(
    query: QueryDict, comparison: RunComparison, best: str, names: Sequence[tuple[str, str]]
) -> tuple[dict[str, Any] | None, Invalid | None]:
    """Build the requested parallel coordinates, or the default ones with the error."""
    try:
        return parallel_coordinates.build_parallel_chart(comparison, query, best, names), None
    except Invalid as error:
        return parallel_coordinates.build_parallel_chart(comparison, QueryDict(), best, names), error


def is_varying(row: Mapping[str, Any]) -> bool:
    """Whether the newest values of a metric are not the same in all runs."""
    return len({None if cell is None else repr(cell.number) for cell in row["cells"]}) > 1


def list_addable_runs(actor: Actor, project: Project, chosen: Sequence[str]) -> list[Run]:
    """The newest runs that are not chosen yet."""
    newest = queries.list_runs(actor, project, RunFilters()).order_by("-started_at", "-id")[: OFFERED + len(chosen)]
    return [run for run in newest if run.pk not in chosen][:OFFERED]


def format_remaining_ids(runs: Sequence[Run], run: Run) -> str:
    """The ids that stay when one of three or more is taken out; empty for two."""
    return (
        ",".join(remaining.pk for remaining in runs if remaining is not run)
        if len(runs) > queries.COMPARED_RUNS_LIMITS[0]
        else ""
    )


def build_overlay_chart(project: Project, comparison: RunComparison, key: str, look: ChartOptions) -> dict[str, Any]:
    """Build a chart of one metric of the compared runs; one without it keeps its slot, and the others their strokes."""
    drawn_lines = chart_options.load_lines(get_metric_values(comparison, key), comparison.runs, look)
    lines = {line.metric.run_id: line for line in drawn_lines}
    labels = label_columns(comparison.runs)
    query = urlencode({"ids": ",".join(run.pk for run in comparison.runs), "key": key})
    series = [
        chart_options.build_series(
            lines.get(run.pk),
            labels[run.pk],
            reverse("experiments:detail", args=[project.slug, run.pk]),
        )
        for run in comparison.runs
    ]
    return chart_options.build_chart(
        series, look, y_unit=key, csv=f"{reverse('api-runs-csv', args=[project.slug])}?{query}", toggles=True
    )


def get_metric_values(comparison: RunComparison, key: str) -> list[Metric]:
    """One metric of those of these runs that have it."""
    return [metric for row in comparison.metrics if row.key == key for metric in row.values if metric]


def label_columns(runs: Sequence[Run]) -> dict[str, str]:
    return label_runs(runs, LABEL if len(runs) < NARROW_RUNS else NARROW_LABEL)
