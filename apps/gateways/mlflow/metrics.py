"""metrics/*: a metric's history in pages, and downsampled histories of several runs for a chart."""

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
from apps.gateways.mlflow.request import SEE_DOCS, MlflowCall, missing_parameter_error
from apps.gateways.mlflow.responses import invalid_parameter_error
from apps.ml.experiments import services
from apps.ml.experiments.filters.sql import (
    EPOCH,
    Sql,
    convert_to_timestamp,
    fetch_rows,
    get_microseconds,
    get_milliseconds,
    is_postgres,
)
from apps.ml.experiments.metrics.series import STEP_LIMIT
from apps.ml.experiments.models import Metric, MetricPoint

POINTS_PER_PAGE = 25_000  # points, where nothing is asked: what its own client asks for
MAX_BULK_RUNS, MAX_BULK_POINTS = 100, 25_000
MAX_INTERVAL_POINTS, DEFAULT_INTERVAL_POINTS = 2500, 320
COLUMNS = ("value", "is_nan", "at", "step")
HISTORY_ORDER = ("at", "step", "value", "id")
"""The order of a history. An index gives its first two, and the database sorts only what is alike in both."""
Row = tuple[Any, ...]  # what READ reads
Steps = tuple[int, int]  # the first and the last
ALL_STEPS: Steps = (-STEP_LIMIT, STEP_LIMIT)
TIME_ORDER_KEY = operator.itemgetter(3, 4, 1, 5)  # at, step, value, id
STEP_ORDER_KEY = operator.itemgetter(4, 3, 1, 5)
POINT_COLUMNS = "metric_id, value, is_nan, at, step, id"
FIRST_POINTS_SQL = """
SELECT * FROM (
    SELECT {read} FROM experiments_metricpoint
     WHERE metric_id = %s AND step >= %s AND step <= %s ORDER BY {order} LIMIT %s
) AS part
"""
# How many points of a metric are at these steps, counted as far as is asked, where they begin and end, and when all do.
EXTENTS_SQL = """
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
EVENLY_SPACED_SQL = """
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
PAIRS_SQL = {
    "postgresql": "unnest(%s::bigint[], %s::{type}[]) AS wanted(metric, place)",
    "sqlite": "(SELECT json_extract(value, '$[0]') AS metric, json_extract(value, '$[1]') AS place FROM json_each(%s))"
    " AS wanted",
}


def get_history(call: MlflowCall) -> dict[str, Any]:
    """By time, step and value, NaN as 0. Pages go on behind the last point, so each costs what the first does."""
    run_id, key = call.get_run_id(), call.require_text("metric_key")
    limit = parse_limit(call)
    token = call.get_text("page_token")
    edge = decode_page_token(token) if token else None
    services.ingest_batches(run_ids=[run_id])
    metric = next(iter(list_metrics(call, [run_id], key)), None)
    if metric is None:
        return {}
    points = MetricPoint.objects.filter(metric_id=metric.pk).order_by(*HISTORY_ORDER)
    if edge is not None:
        at, step, value, pk = edge
        later = Q(at__gt=at) | Q(at=at, step__gt=step) | Q(at=at, step=step, value__gt=value)
        # The bound on the time is said once more by itself: planners walk an index by it, an OR they scan.
        points = points.filter(later | Q(at=at, step=step, value=value, id__gt=pk), at__gte=at)
    rows = list(points.values_list(*COLUMNS, "id")[: limit + 1])
    payload: dict[str, Any] = {}
    if rows:
        payload["metrics"] = [serializers.serialize_metric(key, *row[:4]) for row in rows[:limit]]
    if len(rows) > limit:
        value, _is_nan, at, step, pk = rows[limit - 1]
        payload["next_page_token"] = encode_page_token(get_microseconds(at), step, value, pk)
    return payload


def get_history_bulk_interval(call: MlflowCall) -> dict[str, Any]:
    """Points of several runs, thinned evenly over the steps to `max_results` for each; the last is always there."""
    run_ids, key = call.get_texts("run_ids"), call.require_text("metric_key")
    if not run_ids:
        raise missing_parameter_error("run_ids")
    if len(run_ids) > MAX_BULK_RUNS:
        raise invalid_parameter_error(
            f"GetMetricHistoryBulkInterval request must specify at most {MAX_BULK_RUNS} run_ids."
        )
    window = parse_window(call)
    limit = call.get_integer("max_results", DEFAULT_INTERVAL_POINTS)
    if not 1 <= limit <= MAX_INTERVAL_POINTS:
        raise invalid_parameter_error(f"max_results must be between 1 and {MAX_INTERVAL_POINTS}. {SEE_DOCS}")
    services.ingest_batches(run_ids=run_ids)
    metrics = {metric.run_id: metric.pk for metric in list_metrics(call, run_ids, key)}
    points = thin_points(metrics.values(), window, limit)
    # In the order they were asked for, as MLflow.
    payload = [
        serialize_run_point(key, run_id, row) for run_id in run_ids for row in points.get(metrics.get(run_id, 0), ())
    ]
    return {"metrics": payload} if payload else {}


def parse_window(call: MlflowCall) -> Steps | None:
    """(first step, last step), or None where all are asked for."""
    has_bound = [call.get_value(name) is not None for name in ("start_step", "end_step")]
    steps = [call.get_integer(name, 0) for name in ("start_step", "end_step")]
    if any(has_bound) and not all(has_bound):
        raise invalid_parameter_error("If either start step or end step are specified, both must be specified.")
    start, end = steps
    if start > end:
        raise invalid_parameter_error(
            f"end_step must be greater than start_step. Found start_step={start} and end_step={end}."
        )
    return (start, end) if all(has_bound) else None


def thin_points(metric_ids: Collection[int], window: Steps | None, limit: int) -> dict[int, list[Row]]:
    """{metric: its points, by step}: every point of the window where there are few; else those nearest behind evenly
    spaced steps, and the last. Four queries at most, however many metrics.
    """
    complete, by_step, by_time = [], {}, {}
    for pk, count, first, last, began, ended in fetch_extents(metric_ids, window or ALL_STEPS, limit + 1):
        if count <= limit:
            complete.append((pk, count))
        elif first == last and window is None:  # whoever counts no steps has them all at one: such a curve goes by time
            by_time[pk] = get_microseconds(began), get_microseconds(ended)
        else:
            by_step[pk] = first, last
    points = fetch_first_points(complete, "step, id", window or ALL_STEPS)
    points |= fetch_evenly_spaced_points(BY_STEP, "bigint", by_step, limit, int)
    points |= fetch_evenly_spaced_points(BY_TIME, "timestamptz", by_time, limit, convert_to_timestamp)
    for pk, rows in points.items():
        rows.sort(key=STEP_ORDER_KEY)
        points[pk] = rows if len(rows) <= limit else [*rows[: limit - 1], rows[-1]]
    return points


def fetch_extents(metric_ids: Collection[int], steps: Steps, limit: int) -> list[tuple[Any, ...]]:
    """(metric, count of points in these steps up to `limit`, first and last step there, first and last time of all)."""
    if not metric_ids:
        return []
    rows = ", ".join(["(%s)"] * len(metric_ids))
    return fetch_rows(Sql(EXTENTS_SQL.format(rows=rows), (*steps, limit, *steps, *metric_ids)))


def fetch_first_points(limits: Sequence[tuple[int, int]], order: str, steps: Steps) -> dict[int, list[Row]]:
    """{metric: its points} for each (metric, how many at most): the first of them in this order, told in any."""
    if not limits:
        return {}
    subquery = FIRST_POINTS_SQL.format(read=POINT_COLUMNS, order=order)
    values = (value for pk, limit in limits for value in (pk, *steps, limit))
    return group_rows_by_metric(Sql(" UNION ALL ".join([subquery] * len(limits)), tuple(values)))


def fetch_evenly_spaced_points(
    columns: Mapping[str, str],
    sql_type: str,
    ends: Mapping[int, tuple[int, int]],
    limit: int,
    to_column_value: Callable[[int], Any],
) -> dict[int, list[Row]]:
    """{metric: points evenly between its ends, and the newest} of those that MLflow draws of a curve with a point at
    each place: as many looks into the index, however many points there are.
    """
    if not ends:
        return {}
    positions = [
        (pk, to_column_value(place)) for pk, (first, last) in ends.items() for place in split_range(first, last, limit)
    ]
    newest = [(pk, to_column_value(last)) for pk, (_first, last) in ends.items()]
    text = EVENLY_SPACED_SQL.format(
        read=POINT_COLUMNS, wanted=PAIRS_SQL[connection.vendor].format(type=sql_type), **columns
    )
    return group_rows_by_metric(Sql(text, (*build_pair_params(positions), *build_pair_params(newest))))


def build_pair_params(pairs: Sequence[tuple[int, Any]]) -> Sequence[Any]:
    """The parameters of PAIRS."""
    return [list(column) for column in zip(*pairs, strict=True)] if is_postgres() else [json.dumps(pairs)]


def group_rows_by_metric(statement: Sql) -> dict[int, list[Row]]:
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in fetch_rows(statement):
        groups[row[0]].append(row)
    return groups


def serialize_run_point(key: str, run_id: str, row: Row) -> dict[str, Any]:
    _metric, value, is_nan, at, step, _id = row
    point = {
        "key": key,
        "value": serializers.serialize_number(value, is_nan),
        "timestamp": get_milliseconds(at),
        "step": step,
    }
    return point | {"run_id": run_id}


def split_range(first: int, last: int, limit: int) -> list[int]:
    """Where each of `limit` parts of first..last begins, the larger parts in front, as SQL's NTILE shares rows out."""
    width, larger = divmod(last - first + 1, limit)
    return [first + number * width + min(number, larger) for number in range(min(limit, last - first + 1))]


def get_history_bulk(call: MlflowCall) -> dict[str, Any]:
    """Every point of several runs, by run, time, step and value; what is too many is cut, as MLflow does."""
    run_ids, key = call.get_texts("run_id"), call.get_text("metric_key")
    if not run_ids:
        raise invalid_parameter_error("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_ids) > MAX_BULK_RUNS:
        text = f"GetMetricHistoryBulk request cannot specify more than {MAX_BULK_RUNS} run_ids."
        raise invalid_parameter_error(f"{text} Received {len(run_ids)} run_ids.")
    if not key:
        raise invalid_parameter_error("GetMetricHistoryBulk request must specify a metric_key.")
    limit = min(call.get_integer("max_results", MAX_BULK_POINTS), MAX_BULK_POINTS)
    services.ingest_batches(run_ids=run_ids)
    limits, room = [], max(0, limit)
    metrics = list_metrics(call, run_ids, key)
    for metric in metrics:
        if take := min(metric.count, room):
            limits.append((metric.pk, take))
            room -= take
    points = fetch_first_points(limits, ", ".join(HISTORY_ORDER), ALL_STEPS)
    rows = ((metric, row) for metric in metrics for row in sorted(points.get(metric.pk, ()), key=TIME_ORDER_KEY))
    return {"metrics": [serialize_run_point(key, metric.run_id, row) for metric, row in rows]}


def list_metrics(call: MlflowCall, run_ids: Iterable[str], key: str) -> list[Metric]:
    """This metric of those of these runs of the project that have it, by run."""
    metrics = Metric.objects.filter(run_id__in=set(run_ids), key=key, project_id=call.project_id)
    return list(metrics.order_by("run_id").only("run_id", "count"))


# -- pages ----------------------------------------------------------------------------------------------------------
def parse_limit(call: MlflowCall) -> int:
    if call.get_value("max_results") is None:
        return POINTS_PER_PAGE
    limit = call.get_integer("max_results")
    if limit <= 0:
        raise invalid_parameter_error(
            f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer."
        )
    return min(limit, POINTS_PER_PAGE)


def encode_page_token(*edge: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(edge, separators=(",", ":")).encode()).decode()


def decode_page_token(token: str) -> tuple[Any, int, float, int]:
    try:
        at, step, value, pk = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
        if not all(type(each) is int and abs(each) < 2**63 for each in (at, step, pk)):
            raise ValueError
        if type(value) is not float or math.isnan(value):
            raise ValueError
        return EPOCH + timedelta(microseconds=at), step, value, pk
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise invalid_parameter_error("Invalid page token, could not base64-decode") from None
