"""metrics/*: every point of a metric, page by page, and points of several runs for a chart."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from apps.experiments import services
from apps.experiments.filters.sql import EPOCH, Sql, microseconds, rows_of
from apps.experiments.models import Metric, MetricPoint
from apps.mlflow import shapes
from apps.mlflow.answers import wrong
from apps.mlflow.asking import SEE, Ask, missing

PAGE = 25_000  # points, where nothing is asked: what its own client asks for
BULK_RUNS, BULK_POINTS = 100, 25_000
INTERVAL_POINTS, INTERVAL_DEFAULT = 2500, 320
COLUMNS = ("value", "is_nan", "at", "step")
MLFLOWS = ("at", "step", "value", "id")
"""The order of a history. An index gives its first two, and the database sorts only what is alike in both."""
# The first point of a metric from each of these places on, one step into an index for each of them.
EVENLY = """
SELECT DISTINCT (
    SELECT point.id FROM experiments_metricpoint AS point
     WHERE point.metric_id = %s AND point.{place} >= wanted.column1 AND point.{place} <= %s
     ORDER BY point.{order} LIMIT 1
) FROM (VALUES {rows}) AS wanted
"""
BY_STEP, BY_TIME = ("step", "step, point.id"), ("at", "at, point.step, point.id")


def history(ask: Ask) -> dict[str, Any]:
    """By time, step and value, NaN as 0. Pages go on behind the last point, so each costs what the first does."""
    run_id, key = ask.run_id(), ask.required("metric_key")
    limit = limit_of(ask)
    token = ask.text("page_token")
    behind = read_token(token) if token else None
    services.take_in(run_ids=[run_id])
    metric_ids = [pk for pk, _run in metrics_of(ask, [run_id], key)]
    points = MetricPoint.objects.filter(metric_id=metric_ids[0] if metric_ids else None).order_by(*MLFLOWS)
    if behind is not None:
        at, step, value, pk = behind
        later = Q(at__gt=at) | Q(at=at, step__gt=step) | Q(at=at, step=step, value__gt=value)
        # The bound on the time is said once more by itself: planners walk an index by it, an OR they scan.
        points = points.filter(later | Q(at=at, step=step, value=value, id__gt=pk), at__gte=at)
    rows = list(points.values_list(*COLUMNS, "id")[: limit + 1])
    told: dict[str, Any] = {}
    if rows:
        told["metrics"] = [shapes.metric(key, *row[:4]) for row in rows[:limit]]
    if len(rows) > limit:
        value, _is_nan, at, step, pk = rows[limit - 1]
        told["next_page_token"] = token_of(microseconds(at), step, value, pk)
    return told


def history_bulk_interval(ask: Ask) -> dict[str, Any]:
    """Points of several runs, thinned evenly over the steps to `max_results` for each; the last is always there."""
    run_ids, key = ask.texts("run_ids"), ask.required("metric_key")
    if not run_ids:
        raise missing("run_ids")
    if len(run_ids) > BULK_RUNS:
        raise wrong(f"GetMetricHistoryBulkInterval request must specify at most {BULK_RUNS} run_ids.")
    window = window_of(ask)
    most = ask.integer("max_results", INTERVAL_DEFAULT)
    if not 1 <= most <= INTERVAL_POINTS:
        raise wrong(f"max_results must be between 1 and {INTERVAL_POINTS}. {SEE}")
    services.take_in(run_ids=run_ids)
    found = {run_id: metric_id for metric_id, run_id in metrics_of(ask, run_ids, key)}
    told = []
    for run_id in run_ids:  # in the order they were asked for, as MLflow
        if run_id in found:
            told += thinned(found[run_id], window, most, key, run_id)
    return {"metrics": told} if told else {}


def window_of(ask: Ask) -> tuple[int, int] | None:
    """(first step, last step), or None where all are asked for."""
    given = [ask.value(name) is not None for name in ("start_step", "end_step")]
    steps = [ask.integer(name, 0) for name in ("start_step", "end_step")]
    if any(given) and not all(given):
        raise wrong("If either start step or end step are specified, both must be specified.")
    start, end = steps
    if start > end:
        raise wrong(f"end_step must be greater than start_step. Found start_step={start} and end_step={end}.")
    return (start, end) if all(given) else None


def thinned(metric_id: int, window: tuple[int, int] | None, most: int, key: str, run_id: str) -> list[dict[str, Any]]:
    """Every point of the window where there are few; else those nearest behind evenly spaced steps, and the last."""
    points = MetricPoint.objects.filter(metric_id=metric_id)
    if window:
        points = points.filter(step__gte=window[0], step__lte=window[1])
    ordered = points.order_by("step", "at", "id")
    rows = list(ordered.values_list(*COLUMNS)[: most + 1])
    if len(rows) > most:
        first, last = rows[0][3], points.order_by("-step").values_list("step", flat=True)[:1][0]
        # Whoever counts no steps has them all at one: such a curve goes by time.
        by_time = first == last and window is None
        rows = evenly(metric_id, (first, last), most) if not by_time else evenly_by_time(metric_id, most)
    return [{**shapes.metric(key, *row), "run_id": run_id} for row in rows]


def evenly(metric_id: int, steps: tuple[int, int], most: int) -> list[tuple[Any, ...]]:
    """`most` points at most, evenly over these steps: those that MLflow draws of a curve with a point at each."""
    last = MetricPoint.objects.filter(metric_id=metric_id, step=steps[1]).order_by("-at", "-id")
    return spread(metric_id, BY_STEP, places(*steps, most), steps[1], last, most)


def evenly_by_time(metric_id: int, most: int) -> list[tuple[Any, ...]]:
    points = MetricPoint.objects.filter(metric_id=metric_id)
    first, last = (points.order_by(order, "id").values_list("at", flat=True)[:1][0] for order in ("at", "-at"))
    wanted = [EPOCH + timedelta(microseconds=at) for at in places(microseconds(first), microseconds(last), most)]
    return spread(metric_id, BY_TIME, wanted, last, points.order_by("-at", "-id"), most)


def places(first: int, last: int, most: int) -> list[int]:
    """Where each of `most` parts of first..last begins, the larger parts in front, as SQL's NTILE shares rows out."""
    width, larger = divmod(last - first + 1, most)
    return [first + number * width + min(number, larger) for number in range(min(most, last - first + 1))]


def spread(
    metric_id: int, by: tuple[str, str], wanted: list[Any], end: Any, newest: QuerySet[MetricPoint], most: int
) -> list[tuple[Any, ...]]:
    """The points behind the places `wanted`, and the newest: as many looks into the index, however many there are."""
    place, order = by
    adapt = connection.ops.adapt_datetimefield_value if by == BY_TIME else int
    text = EVENLY.format(place=place, order=order, rows=", ".join(["(%s)"] * len(wanted)))
    ids = {pk for (pk,) in rows_of(Sql(text, (metric_id, adapt(end), *map(adapt, wanted))))}
    points = MetricPoint.objects.filter(metric_id=metric_id)
    found = list(points.filter(pk__in=ids).order_by("step", "at", "id").values_list(*COLUMNS, "id"))
    last = newest.values_list(*COLUMNS, "id")[:1][0]
    if last not in found:
        found = [*found[: most - 1], last]
    return [row[:4] for row in found]


def history_bulk(ask: Ask) -> dict[str, Any]:
    """Every point of several runs, by run, time, step and value; what is too many is cut, as MLflow does."""
    run_ids, key = ask.texts("run_id"), ask.text("metric_key")
    if not run_ids:
        raise wrong("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_ids) > BULK_RUNS:
        text = f"GetMetricHistoryBulk request cannot specify more than {BULK_RUNS} run_ids."
        raise wrong(f"{text} Received {len(run_ids)} run_ids.")
    if not key:
        raise wrong("GetMetricHistoryBulk request must specify a metric_key.")
    limit = min(ask.integer("max_results", BULK_POINTS), BULK_POINTS)
    services.take_in(run_ids=run_ids)
    told: list[dict[str, Any]] = []
    for metric_id, run_id in metrics_of(ask, run_ids, key):
        rows = MetricPoint.objects.filter(metric_id=metric_id).order_by(*MLFLOWS).values_list(*COLUMNS)
        told += [{**shapes.metric(key, *row), "run_id": run_id} for row in rows[: max(0, limit - len(told))]]
    return {"metrics": told}


def metrics_of(ask: Ask, run_ids: Iterable[str], key: str) -> list[tuple[int, str]]:
    """(metric, run) of those runs of the project that have this metric, by run."""
    found = Metric.objects.filter(run_id__in=set(run_ids), key=key, project_id=ask.project_id)
    return list(found.order_by("run_id").values_list("id", "run_id"))


# -- pages ----------------------------------------------------------------------------------------------------------
def limit_of(ask: Ask) -> int:
    if ask.value("max_results") is None:
        return PAGE
    limit = ask.integer("max_results")
    if limit <= 0:
        raise wrong(f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer.")
    return min(limit, PAGE)


def token_of(*edge: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(edge, separators=(",", ":")).encode()).decode()


def read_token(token: str) -> tuple[Any, int, float, int]:
    try:
        at, step, value, pk = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
        if not all(type(each) is int and abs(each) < 2**63 for each in (at, step, pk)):
            raise ValueError
        if type(value) is not float or math.isnan(value):
            raise ValueError
        return EPOCH + timedelta(microseconds=at), step, value, pk
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise wrong("Invalid page token, could not base64-decode") from None
