"""The run page with its tabs, and the chart fragment that refreshes while the run is live."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import parse_etags
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.markdown import render_markdown
from apps.ml.experiments import presenters, queries
from apps.ml.experiments.diagnostics.documents import find_files, list_first_files
from apps.ml.experiments.diagnostics.page import build_diagnostics_context
from apps.ml.experiments.files.page import build_files_context
from apps.ml.experiments.metrics import chart_options
from apps.ml.experiments.metrics.chart_options import ChartOptions
from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.ranking import COMPILE
from apps.ml.experiments.services.annotations import compute_note_revision
from apps.ml.experiments.tradeoff.page import build_tradeoff_context
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.queries import get_timeline
from apps.platform.jobs.models import JobOutput
from apps.platform.jobs.status.verification_summary import SLOT, VerificationSummary, find_verification

TABS = ("overview", "metrics", "diagnostics", "trade-off", "artifacts", "environment", "lineage", "audit")
DRAWN_TABS = ("overview", "metrics")
METRICS = 200  # of one run, on its page
CHARTS = 16  # on one page; the others are a click away
ARTIFACTS = 10  # on the overview; their tab has them all
EVERY, EVERY_OUTSIDE = 10, 3  # seconds between two looks of an open page: a job has a stream as well


@require_safe
def run_page(request: HttpRequest, project: str, run: str, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/runs/<id>[/<tab>]"""
    actor, where = get_project_context(request, project)
    return render_run(request, actor, queries.get_run(actor, where, run), tab)


def render_run(
    request: HttpRequest, actor: Actor, run: Run, tab: str = "overview", *, status: int = 200, **more: Any
) -> HttpResponse:
    """One tab of the page; `more` says what became of a form on it."""
    measured, system = queries.split_metrics(actor, run, METRICS)
    metrics = sort_metrics(measured)
    context = build_head_context(run, metrics, tab) | build_file_context(request, actor, run, tab)
    context |= build_tab_context(request, actor, run, metrics, system, tab) | more
    context["may_annotate"] = policy.is_allowed(actor, "run.annotate", run)
    wrong = context.get("wrong")
    return render(request, f"experiments/{tab}.html", context, status=wrong.status if wrong else status)


@require_safe
def run_charts(request: HttpRequest, project: str, run: str, tab: str) -> HttpResponse:
    """/p/<slug>/runs/<id>/<tab>/charts: what is drawn of the run, for a page that is open; 304 if nothing is new.

    What is new is told by the rows of its metrics, so that a look that finds nothing reads no points.
    """
    actor, where = get_project_context(request, project)
    run_row = queries.get_run(actor, where, run)
    measured, system = queries.split_metrics(actor, run_row, METRICS)
    metrics = sort_metrics(measured)
    etag = compute_etag(request, run_row, [*metrics, *system], tab)
    if etag in parse_etags(request.headers.get("If-None-Match", "").replace("W/", "")):
        return HttpResponseNotModified(headers={"ETag": etag})
    context = build_head_context(run_row, metrics, tab) | build_chart_context(request, run_row, metrics, system, tab)
    answer = render(request, "experiments/charts_part.html", context)
    answer["ETag"], answer["Cache-Control"] = etag, "private, no-cache"
    return answer


def compute_etag(request: HttpRequest, run: Run, metrics: Sequence[Metric], tab: str) -> str:
    parts = [run.state, tab, get_language(), request.META.get("QUERY_STRING", "")]
    parts += [f"{metric.pk} {metric.count} {metric.attempt} {metric.digest}" for metric in metrics]
    return f'"{hashlib.sha256(chr(10).join(map(str, parts)).encode()).hexdigest()[:32]}"'


def build_head_context(run: Run, metrics: Sequence[Metric], tab: str) -> dict[str, Any]:
    """What every tab shows above it."""
    return {
        "nav": "runs",
        "run": run,
        "tab": tab,
        "job": run.job,
        "measured": presenters.list_figure_results(run.figures),
        "references": presenters.list_reference_results(run.figures),
        "size": presenters.build_size_change(run.figures),
        "metrics": metrics,
        "losses": presenters.select_first_charts(metrics),
        "live": is_live(run),
        "every": EVERY if run.job else EVERY_OUTSIDE,
    }


def is_live(run: Run) -> bool:
    """Whether more may come: of a run without a job its state alone tells."""
    return not run.ended and (run.job is None or not run.job.ended)


def sort_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    by_key = {metric.key: metric for metric in metrics}
    return [by_key[key] for key in queries.sort_by_preference(by_key)]


def build_file_context(request: HttpRequest, actor: Actor, run: Run, tab: str) -> dict[str, Any]:
    """Whether there are diagnostics and a trade-off, on every tab; on the overview the first files too, on their own
    what is drawn. One query, and what the bytes take."""
    context: dict[str, Any] = {}
    if tab == "overview":
        context["artifacts"], context["more_artifacts"], files = list_first_files(actor, run, ARTIFACTS)
    else:
        files = find_files(actor, run)
    if tab == "diagnostics":
        context = build_diagnostics_context(actor, run, files)
    elif tab == "trade-off":
        context = build_tradeoff_context(request, actor, run, files)
    return context | {"has_diagnostics": bool(files), "has_tradeoff": files.tradeoff is not None}


def build_tab_context(
    request: HttpRequest, actor: Actor, run: Run, metrics: Sequence[Metric], system: Sequence[Metric], tab: str
) -> dict[str, Any]:
    """What only this tab shows."""
    match tab:
        case "overview":
            context = {"params": queries.list_params(actor, run), "verification": get_verification(run)}
            context |= build_annotation_context(actor, run) | build_usage_context(actor, run)
            return context | build_chart_context(request, run, metrics, system, tab)
        case "metrics":
            return build_chart_context(request, run, metrics, system, tab)
        case "artifacts":
            return build_files_context(request, actor, run)
        case "environment":
            return {"environment": run.environment, "packages": (run.environment.get("packages") or {}).items()}
        case "audit":
            return {"events": get_timeline(actor, "run", run.pk)}
    return {}


def get_verification(run: Run) -> VerificationSummary | None:
    """Where the model that the run's job compiled was proven."""
    if run.job_id is None or run.kind != COMPILE:
        return None
    return find_verification(JobOutput.objects.filter(job_id=run.job_id, slot=SLOT))


def build_annotation_context(actor: Actor, run: Run) -> dict[str, Any]:
    """What people say of the run."""
    note, tags = queries.get_note_and_tags(actor, run)
    return {
        "note": note,
        "note_html": render_markdown(note) if note else "",
        "note_revision": compute_note_revision(note),
        "tags": tags,
    }


def build_usage_context(actor: Actor, run: Run) -> dict[str, Any]:
    """The datasets and models that a client says it used or made; no client writes to a run that stands for a sweep."""
    if run.kind and run.job_id is None:
        return {"datasets": [], "models": []}
    return {"datasets": queries.list_datasets(actor, run), "models": queries.list_models(actor, run)}


# -- charts ---------------------------------------------------------------------------------------------------------
def build_chart_context(
    request: HttpRequest, run: Run, metrics: Sequence[Metric], system: Sequence[Metric], tab: str
) -> dict[str, Any]:
    """The chart of the metrics that the query names, or of the losses; on their tab, one of each beside it, and of what
    the machine did in a section of its own.
    """
    look, wrong = chart_options.parse_options_or_error(request.GET)
    keys = request.GET.getlist("key")[: presenters.LINES]
    chosen = [metric for metric in [*metrics, *system] if metric.key in keys]
    main = chosen or (presenters.select_first_charts(metrics) if tab == "overview" else [])
    series = [metric for metric in metrics if metric.count > 1]
    each = series[:CHARTS] if tab == "metrics" and not chosen else []
    machine = [metric for metric in system if metric.count > 1][:CHARTS] if tab == "metrics" and not chosen else []
    # What the machine did always has steps: it does not say whether the training counts any.
    look = chart_options.fit_axis(look, [*main, *each] or machine)
    drawn_lines = chart_options.load_lines([*main, *each, *machine], [run], look)
    of_main, of_each, of_machine = split_lines(drawn_lines, len(main), len(each))
    return {
        "chart": build_main_chart(run, of_main, look) if main else None,
        "drawn": [metric.key for metric in main],
        "sections": build_sections(run, of_each, look),
        "machine": build_sections(run, of_machine, look),
        "system": system,
        "undrawn": max(0, len(series) - len(each)) if each else 0,
        "look": look.as_query,
        "keep": chart_options.list_kept_params(request.GET),
        "limit": METRICS,
        "wrong": wrong,
        "redraws": reverse(f"experiments:{tab}_charts", args=[run.project.slug, run.pk]) if tab in DRAWN_TABS else "",
    }


def split_lines(lines: Sequence[Any], *sizes: int) -> list[Sequence[Any]]:
    """The lines in parts of these sizes, and what is left of them."""
    parts, at = [], 0
    for size in sizes:
        parts.append(lines[at : at + size])
        at += size
    return [*parts, lines[at:]]


def build_main_chart(run: Run, drawn_lines: Sequence[Any], look: ChartOptions) -> dict[str, Any]:
    keys = [line.metric.key for line in drawn_lines]
    unit = keys[0] if len(keys) == 1 else _("loss") if all(map(queries.is_loss, keys)) else _("value")
    series = [chart_options.build_series(line, line.metric.key) for line in drawn_lines]
    return chart_options.build_chart(series, look, y_unit=unit, csv=build_csv_url(run, keys), toggles=True)


def build_sections(run: Run, drawn_lines: Sequence[Any], look: ChartOptions) -> list[dict[str, Any]]:
    """The charts by what their metrics belong to."""
    by_key = {line.metric.key: line for line in drawn_lines}
    quiet = replace(look, hidden=())  # a single line is not put away
    return [
        {
            "group": presenters.translate_group(group),
            "name": group or "other",
            "charts": [
                build_small_chart(run, by_key[key], quiet, f"c-{group}-{place}") for place, key in enumerate(keys)
            ],
        }
        for group, keys in presenters.group_metrics(by_key)
    ]


def build_small_chart(run: Run, line: Any, look: ChartOptions, name: str) -> dict[str, Any]:
    key = line.metric.key
    chart = chart_options.build_chart(
        [chart_options.build_series(line, key)], look, y_unit=key, csv=build_csv_url(run, [key]), small=True, id=name
    )
    return {"metric": line.metric, "chart": chart}


def build_csv_url(run: Run, keys: Sequence[str]) -> str:
    query = urlencode({"ids": run.pk, "key": keys}, doseq=True)
    return f"{reverse('api-runs-csv', args=[run.project.slug])}?{query}"
