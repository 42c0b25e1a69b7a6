"""metrics/*: every point of a metric, page by page, and points of several runs for a chart."""

from __future__ import annotations

import base64
import json
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Q

from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.request import SEE, Ask, missing
from apps.gateways.mlflow.responses import wrong
from apps.ml.experiments import services
from apps.ml.experiments.filters.sql import EPOCH, Sql, microseconds, milliseconds, moment, on_postgres, rows_of
from apps.ml.experiments.metrics.series import STEP_LIMIT
from apps.ml.experiments.models import Metric, MetricPoint

PAGE = 25_000  # points, where nothing is asked: what its own client asks for
BULK_RUNS, BULK_POINTS = 100, 25_000
INTERVAL_POINTS, INTERVAL_DEFAULT = 2500, 320
COLUMNS = ("value", "is_nan", "at", "step")
MLFLOWS = ("at", "step", "value", "id")
"""The order of a history. An index gives its first two, and the database sorts only what is alike in both."""
Row = tuple[Any, ...]  # what READ reads
Steps = tuple[int, int]  # the first and the last
EVERY: Steps = (-STEP_LIMIT, STEP_LIMIT)
IN_TIME = operator.itemgetter(3, 4, 1, 5)  # at, step, value, id
IN_STEPS = operator.itemgetter(4, 3, 1, 5)
READ = "metric_id, value, is_nan, at, step, id"
FIRST = """
SELECT * FROM (
    SELECT {read} FROM experiments_metricpoint
     WHERE metric_id = %s AND step >= %s AND step <= %s ORDER BY {order} LIMIT %s
) AS part
"""
# How many points of a metric are at these steps, counted as far as is asked, where they begin and end, and when all do.
EXTENT = """
SELECT wanted.column1,
       (SELECT COUNT(*) FROM (
           SELECT 1 FROM experiments_metricpoint WHERE metric_id = wanted.column1 AND step >= %s AND step <= %s
            ORDER BY step LIMIT %s
       ) AS few),
       (SELECT MIN(step) FROM experiments_metricpoint WHERE metric_id = wanted.column1 AND step >= %s),
       (SELECT MAX(step) FROM experiments_metricpoint WHERE metric_id = wanted.column1 AND step <= %s),
       (SELECT MIN(at) FROM experiments_metricpoint WHERE metric_id = wanted.column1),
       (SELECT MAX(at) FROM experiments_metricpoint WHERE metric_id = wanted.column1)
  FROM (VALUES {rows}) AS wanted
"""
# The first point of a metric from each of these places on, one step into an index for each of them; and its last one.
EVENLY = """
SELECT {read} FROM experiments_metricpoint WHERE id IN (
    SELECT (SELECT point.id FROM experiments_metricpoint AS point
             WHERE point.metric_id = wanted.metric AND point.{place} >= wanted.place ORDER BY {order} LIMIT 1)
      FROM {wanted}
     UNION
    SELECT (SELECT point.id FROM experiments_metricpoint AS point
             WHERE point.metric_id = wanted.metric AND point.{place} = wanted.place ORDER BY {newest} LIMIT 1)
      FROM {wanted}
)
"""
BY_STEP = {
    "place": "step",
    "order": "point.step, point.id",
    # Not as the index by time has it: SQLite would walk that one, through all the steps, to sort what is of this step.
    "newest": "COALESCE(point.at, point.at) DESC, point.value DESC, point.id DESC",
}
BY_TIME = {
    "place": "at",
    "order": "point.at, point.step, point.id",
    "newest": "point.step DESC, point.value DESC, point.id DESC",
}
PAIRS = {
    "postgresql": "unnest(%s::bigint[], %s::{type}[]) AS wanted(metric, place)",
    "sqlite": "(SELECT json_extract(value, '$[0]') AS metric, json_extract(value, '$[1]') AS place FROM json_each(%s))"
    " AS wanted",
}


def history(ask: Ask) -> dict[str, Any]:
    """By time, step and value, NaN as 0. Pages go on behind the last point, so each costs what the first does."""
    run_id, key = ask.run_id(), ask.required("metric_key")
    limit = limit_of(ask)
    token = ask.text("page_token")
    behind = read_token(token) if token else None
    services.take_in(run_ids=[run_id])
    metric = next(iter(metrics_of(ask, [run_id], key)), None)
    if metric is None:
        return {}
    points = MetricPoint.objects.filter(metric_id=metric.pk).order_by(*MLFLOWS)
    if behind is not None:
        at, step, value, pk = behind
        later = Q(at__gt=at) | Q(at=at, step__gt=step) | Q(at=at, step=step, value__gt=value)
        # The bound on the time is said once more by itself: planners walk an index by it, an OR they scan.
        points = points.filter(later | Q(at=at, step=step, value=value, id__gt=pk), at__gte=at)
    rows = list(points.values_list(*COLUMNS, "id")[: limit + 1])
    told: dict[str, Any] = {}
    if rows:
        told["metrics"] = [serializers.metric(key, *row[:4]) for row in rows[:limit]]
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
    metrics = {metric.run_id: metric.pk for metric in metrics_of(ask, run_ids, key)}
    found = thinned(metrics.values(), window, most)
    # In the order they were asked for, as MLflow.
    told = [shaped(key, run_id, row) for run_id in run_ids for row in found.get(metrics.get(run_id, 0), ())]
    return {"metrics": told} if told else {}


def window_of(ask: Ask) -> Steps | None:
    """(first step, last step), or None where all are asked for."""
    given = [ask.value(name) is not None for name in ("start_step", "end_step")]
    steps = [ask.integer(name, 0) for name in ("start_step", "end_step")]
    if any(given) and not all(given):
        raise wrong("If either start step or end step are specified, both must be specified.")
    start, end = steps
    if start > end:
        raise wrong(f"end_step must be greater than start_step. Found start_step={start} and end_step={end}.")
    return (start, end) if all(given) else None


def thinned(metric_ids: Collection[int], window: Steps | None, most: int) -> dict[int, list[Row]]:
    """{metric: its points, by step}: every point of the window where there are few; else those nearest behind evenly
    spaced steps, and the last. Four queries at most, however many metrics.
    """
    whole, by_step, by_time = [], {}, {}
    for pk, count, first, last, began, ended in extents(metric_ids, window or EVERY, most + 1):
        if count <= most:
            whole.append((pk, count))
        elif first == last and window is None:  # whoever counts no steps has them all at one: such a curve goes by time
            by_time[pk] = microseconds(began), microseconds(ended)
        else:
            by_step[pk] = first, last
    found = firsts(whole, "step, id", window or EVERY)
    found |= evenly(BY_STEP, "bigint", by_step, most, int)
    found |= evenly(BY_TIME, "timestamptz", by_time, most, moment)
    for pk, rows in found.items():
        rows.sort(key=IN_STEPS)
        found[pk] = rows if len(rows) <= most else [*rows[: most - 1], rows[-1]]
    return found


def extents(metric_ids: Collection[int], steps: Steps, most: int) -> list[tuple[Any, ...]]:
    """(metric, points of these steps, `most` at most, their first and last step, first and last time of all points)."""
    if not metric_ids:
        return []
    rows = ", ".join(["(%s)"] * len(metric_ids))
    return rows_of(Sql(EXTENT.format(rows=rows), (*steps, most, *steps, *metric_ids)))


def firsts(asked: Sequence[tuple[int, int]], order: str, steps: Steps) -> dict[int, list[Row]]:
    """{metric: its points} for each (metric, how many at most): the first of them in this order, told in any."""
    if not asked:
        return {}
    one = FIRST.format(read=READ, order=order)
    values = (value for pk, most in asked for value in (pk, *steps, most))
    return by_metric(Sql(" UNION ALL ".join([one] * len(asked)), tuple(values)))


def evenly(
    by: Mapping[str, str], kind: str, ends: Mapping[int, tuple[int, int]], most: int, stored: Callable[[int], Any]
) -> dict[int, list[Row]]:
    """{metric: points evenly between its ends, and the newest} of those that MLflow draws of a curve with a point at
    each place: as many looks into the index, however many points there are.
    """
    if not ends:
        return {}
    wanted = [(pk, stored(place)) for pk, (first, last) in ends.items() for place in places(first, last, most)]
    newest = [(pk, stored(last)) for pk, (_first, last) in ends.items()]
    text = EVENLY.format(read=READ, wanted=PAIRS[connection.vendor].format(type=kind), **by)
    return by_metric(Sql(text, (*paired(wanted), *paired(newest))))


def paired(pairs: Sequence[tuple[int, Any]]) -> Sequence[Any]:
    """The parameters of PAIRS."""
    return [list(column) for column in zip(*pairs, strict=True)] if on_postgres() else [json.dumps(pairs)]


def by_metric(statement: Sql) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows_of(statement):
        found[row[0]].append(row)
    return found


def shaped(key: str, run_id: str, row: Row) -> dict[str, Any]:
    _metric, value, is_nan, at, step, _id = row
    told = {"key": key, "value": serializers.number(value, is_nan), "timestamp": milliseconds(at), "step": step}
    return told | {"run_id": run_id}


def places(first: int, last: int, most: int) -> list[int]:
    """Where each of `most` parts of first..last begins, the larger parts in front, as SQL's NTILE shares rows out."""
    width, larger = divmod(last - first + 1, most)
    return [first + number * width + min(number, larger) for number in range(min(most, last - first + 1))]


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
    asked, room = [], max(0, limit)
    metrics = metrics_of(ask, run_ids, key)
    for metric in metrics:
        if take := min(metric.count, room):
            asked.append((metric.pk, take))
            room -= take
    found = firsts(asked, ", ".join(MLFLOWS), EVERY)
    rows = ((metric, row) for metric in metrics for row in sorted(found.get(metric.pk, ()), key=IN_TIME))
    return {"metrics": [shaped(key, metric.run_id, row) for metric, row in rows]}


def metrics_of(ask: Ask, run_ids: Iterable[str], key: str) -> list[Metric]:
    """This metric of those of these runs of the project that have it, by run."""
    found = Metric.objects.filter(run_id__in=set(run_ids), key=key, project_id=ask.project_id)
    return list(found.order_by("run_id").only("run_id", "count"))


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
