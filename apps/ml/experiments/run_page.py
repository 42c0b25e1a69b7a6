"""The page of one run with its tabs, and the part of it that is drawn again while the run goes on."""

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
from apps.ml.experiments import presenters, queries
from apps.ml.experiments.files.page import files_context
from apps.ml.experiments.markdown import rendered
from apps.ml.experiments.metrics import chart_options
from apps.ml.experiments.metrics.chart_options import Look
from apps.ml.experiments.models import Metric, Run
from apps.platform.audit.queries import timeline
from apps.platform.jobs.views import get_project_context

TABS = ("overview", "metrics", "artifacts", "environment", "lineage", "audit")
DRAWN_TABS = ("overview", "metrics")
METRICS = 200  # of one run, on its page
CHARTS = 16  # on one page; the others are a click away
ARTIFACTS = 10  # on the overview; their tab has them all
EVERY, EVERY_OUTSIDE = 10, 3  # seconds between two looks of an open page: a job has a stream as well


@require_safe
def run_page(request: HttpRequest, project: str, run: str, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/runs/<id>[/<tab>]"""
    actor, where = get_project_context(request, project)
    return run_response(request, actor, queries.get_run(actor, where, run), tab)


def run_response(
    request: HttpRequest, actor: Actor, found: Run, tab: str = "overview", *, status: int = 200, **more: Any
) -> HttpResponse:
    """One tab of the page; `more` says what became of a form on it."""
    measured, system = queries.split_metrics(actor, found, METRICS)
    metrics = in_order(measured)
    context = head_context(found, metrics, tab) | tab_context(request, actor, found, metrics, system, tab) | more
    context["may_annotate"] = policy.is_allowed(actor, "run.annotate", found)
    wrong = context.get("wrong")
    return render(request, f"experiments/{tab}.html", context, status=wrong.status if wrong else status)


@require_safe
def run_charts(request: HttpRequest, project: str, run: str, tab: str) -> HttpResponse:
    """/p/<slug>/runs/<id>/<tab>/charts: what is drawn of the run, for a page that is open; 304 if nothing is new.

    What is new is told by the rows of its metrics, so that a look that finds nothing reads no points.
    """
    actor, where = get_project_context(request, project)
    found = queries.get_run(actor, where, run)
    measured, system = queries.split_metrics(actor, found, METRICS)
    metrics = in_order(measured)
    etag = etag_of(request, found, [*metrics, *system], tab)
    if etag in parse_etags(request.headers.get("If-None-Match", "").replace("W/", "")):
        return HttpResponseNotModified(headers={"ETag": etag})
    context = head_context(found, metrics, tab) | chart_context(request, found, metrics, system, tab)
    answer = render(request, "experiments/charts_part.html", context)
    answer["ETag"], answer["Cache-Control"] = etag, "private, no-cache"
    return answer


def etag_of(request: HttpRequest, run: Run, metrics: Sequence[Metric], tab: str) -> str:
    told = [run.state, tab, get_language(), request.META.get("QUERY_STRING", "")]
    told += [f"{metric.pk} {metric.count} {metric.attempt} {metric.digest}" for metric in metrics]
    return f'"{hashlib.sha256(chr(10).join(map(str, told)).encode()).hexdigest()[:32]}"'


def head_context(run: Run, metrics: Sequence[Metric], tab: str) -> dict[str, Any]:
    """What every tab shows above it."""
    return {
        "nav": "runs",
        "run": run,
        "tab": tab,
        "job": run.job,
        "measured": presenters.measured(run.figures),
        "size": presenters.size_change(run.figures),
        "metrics": metrics,
        "losses": presenters.drawn_first(metrics),
        "live": is_live(run),
        "every": EVERY if run.job else EVERY_OUTSIDE,
    }


def is_live(run: Run) -> bool:
    """Whether more may come: of a run without a job its state alone tells."""
    return not run.ended and (run.job is None or not run.job.ended)


def in_order(metrics: Sequence[Metric]) -> list[Metric]:
    by_key = {metric.key: metric for metric in metrics}
    return [by_key[key] for key in queries.preferred(by_key)]


def tab_context(
    request: HttpRequest, actor: Actor, run: Run, metrics: Sequence[Metric], system: Sequence[Metric], tab: str
) -> dict[str, Any]:
    """What only this tab shows."""
    match tab:
        case "overview":
            artifacts, more = queries.artifacts_of(actor, run, ARTIFACTS)
            context = {"params": queries.params_of(actor, run), "artifacts": artifacts, "more_artifacts": more}
            context |= said_context(actor, run) | used_context(actor, run)
            return context | chart_context(request, run, metrics, system, tab)
        case "metrics":
            return chart_context(request, run, metrics, system, tab)
        case "artifacts":
            return files_context(request, actor, run)
        case "environment":
            return {"environment": run.environment, "packages": (run.environment.get("packages") or {}).items()}
        case "audit":
            return {"events": timeline(actor, "run", run.pk)}
    return {}


def said_context(actor: Actor, run: Run) -> dict[str, Any]:
    """What people say of the run."""
    note, tags = queries.note_and_tags(actor, run)
    return {"note": note, "note_html": rendered(note) if note else "", "tags": tags}


def used_context(actor: Actor, run: Run) -> dict[str, Any]:
    """The datasets and models that a client says it used or made."""
    return {"datasets": queries.datasets_of(actor, run), "models": queries.models_of(actor, run)}


# -- charts ---------------------------------------------------------------------------------------------------------
def chart_context(
    request: HttpRequest, run: Run, metrics: Sequence[Metric], system: Sequence[Metric], tab: str
) -> dict[str, Any]:
    """The chart of the metrics that the query names, or of the losses; on their tab, one of each beside it, and of what
    the machine did in a section of its own.
    """
    look, wrong = chart_options.look_or_why(request.GET)
    asked = request.GET.getlist("key")[: presenters.LINES]
    named = [metric for metric in [*metrics, *system] if metric.key in asked]
    main = named or (presenters.drawn_first(metrics) if tab == "overview" else [])
    series = [metric for metric in metrics if metric.count > 1]
    each = series[:CHARTS] if tab == "metrics" and not named else []
    machine = [metric for metric in system if metric.count > 1][:CHARTS] if tab == "metrics" and not named else []
    # What the machine did always has steps: it does not say whether the training counts any.
    look = chart_options.fitted(look, [*main, *each] or machine)
    drawn = chart_options.lines_in([*main, *each, *machine], [run], look)
    of_main, of_each, of_machine = parted(drawn, len(main), len(each))
    return {
        "chart": main_chart(run, of_main, look) if main else None,
        "drawn": [metric.key for metric in main],
        "sections": sections_of(run, of_each, look),
        "machine": sections_of(run, of_machine, look),
        "system": system,
        "undrawn": max(0, len(series) - len(each)) if each else 0,
        "look": look.asked,
        "keep": chart_options.kept(request.GET),
        "limit": METRICS,
        "wrong": wrong,
        "redraws": reverse(f"experiments:{tab}_charts", args=[run.project.slug, run.pk]) if tab in DRAWN_TABS else "",
    }


def parted(lines: Sequence[Any], *sizes: int) -> list[Sequence[Any]]:
    """The lines in parts of these sizes, and what is left of them."""
    parts, at = [], 0
    for size in sizes:
        parts.append(lines[at : at + size])
        at += size
    return [*parts, lines[at:]]


def main_chart(run: Run, drawn: Sequence[Any], look: Look) -> dict[str, Any]:
    keys = [line.metric.key for line in drawn]
    unit = keys[0] if len(keys) == 1 else _("loss") if all(map(queries.is_loss, keys)) else _("value")
    series = [chart_options.series_of(line, line.metric.key) for line in drawn]
    return chart_options.chart_of(series, look, y_unit=unit, csv=csv_of(run, keys), toggles=True)


def sections_of(run: Run, drawn: Sequence[Any], look: Look) -> list[dict[str, Any]]:
    """The charts by what their metrics belong to."""
    by_key = {line.metric.key: line for line in drawn}
    quiet = replace(look, hidden=())  # a single line is not put away
    return [
        {
            "group": presenters.group_word(group),
            "name": group or "other",
            "charts": [small_chart(run, by_key[key], quiet, f"c-{group}-{place}") for place, key in enumerate(keys)],
        }
        for group, keys in presenters.grouped(by_key)
    ]


def small_chart(run: Run, line: Any, look: Look, name: str) -> dict[str, Any]:
    key = line.metric.key
    chart = chart_options.chart_of(
        [chart_options.series_of(line, key)], look, y_unit=key, csv=csv_of(run, [key]), small=True, id=name
    )
    return {"metric": line.metric, "chart": chart}


def csv_of(run: Run, keys: Sequence[str]) -> str:
    query = urlencode({"ids": run.pk, "key": keys}, doseq=True)
    return f"{reverse('api-runs-csv', args=[run.project.slug])}?{query}"
