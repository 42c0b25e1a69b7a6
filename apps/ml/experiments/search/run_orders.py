"""The orders of runs as segments, one after the other: each an order that an index can give, or a sort of what fits.

Where a metric comes first, its numbers come from the index of the metric, then NaN, then the runs without it. Other
keys are joined. Always last, MLflow's ties: the run that began last, then the smaller id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.ml.experiments.filters.grammar import ATTRIBUTE, METRIC, TAG, Comparison
from apps.ml.experiments.filters.orders import Order
from apps.ml.experiments.filters.runs import COLUMNS, RUN, TABLES, value_condition
from apps.ml.experiments.filters.sql import Sql, all_of, on_postgres
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.search.paging import Column, Sort

MOMENTS = frozenset({"start_time", "end_time"})


@dataclass(frozen=True, slots=True)
class Segment:
    """Runs in one order. `source` names the tables; `scope` is the column with the experiment."""

    source: Sql
    conditions: tuple[Sql, ...]
    columns: tuple[Column, ...]
    scope: str = f"{RUN}.experiment_id"
    run: str = f"{RUN}.id"


def left_for(orders: Sequence[Order], comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons that the segments do not see to. Said twice, a planner takes one for two and expects no rows."""
    if not orders or orders[0].kind != METRIC:
        return list(comparisons)
    return [one for one in comparisons if not (one.kind == METRIC and one.key == orders[0].key)]


def segments_of(orders: Sequence[Order], comparisons: Sequence[Comparison]) -> list[Segment]:
    if not orders or orders[0].kind != METRIC:
        joins, columns = keys_of(orders)
        return [Segment(source(RUN, joins), (), columns)]
    return metric_segments(orders, comparisons)


def metric_segments(orders: Sequence[Order], comparisons: Sequence[Comparison]) -> list[Segment]:
    """Numbers, NaN and missing; what a filter on the same metric leaves out is not even asked for."""
    first, joins_and_columns = orders[0], keys_of(orders[1:], start=1)
    joins, rest = joins_and_columns
    same = [one for one in comparisons if one.kind == METRIC and one.key == first.key]
    bounds = [value_condition("o0", one) for one in same]
    ties = rest if len(orders) > 1 else (Column("o0.started_at", Sort.MOMENT, True), Column("o0.run_id", Sort.ID))
    # SQLite takes the tables of a CROSS JOIN in the order in which they stand; PostgreSQL decides for itself.
    tables = source(f"experiments_metric o0 CROSS JOIN {RUN}", joins)
    of_key = Sql(f"{RUN}.id = o0.run_id AND o0.key = %s", (first.key,))
    walked = ("o0.experiment_id", "o0.run_id")
    numbers = (of_key, Sql("NOT o0.is_nan"), *bounds)
    found = [Segment(tables, numbers, (Column("o0.value", Sort.NUMBER, first.down), *ties), *walked)]
    if all(one.operator == "!=" for one in same):
        found.append(Segment(tables, (of_key, Sql("o0.is_nan")), ties, *walked))
    if not same:
        absent = "NOT EXISTS (SELECT 1 FROM experiments_metric x WHERE x.run_id = {run}.id AND x.key = %s)"
        missing = Sql(absent.format(run=RUN), (first.key,))
        found.append(Segment(source(RUN, joins), (missing,), rest))
    return found


def source(tables: str, joins: Sql) -> Sql:
    return Sql(f"{tables} {joins.text}", joins.params)


def keys_of(orders: Sequence[Order], start: int = 0) -> tuple[Sql, tuple[Column, ...]]:
    """The joins that bring the keys of these orders, and the columns to sort by, MLflow's ties among them."""
    joins: list[Sql] = []
    columns: list[Column] = []
    for number, order in enumerate(orders, start):
        if order.kind == ATTRIBUTE or order.key == NAME_TAG:
            columns += attribute_columns(order)
            continue
        alias = f"o{number}"
        table = TABLES[order.kind]
        joins.append(Sql(f"LEFT JOIN {table} {alias} ON {alias}.run_id = {RUN}.id AND {alias}.key = %s", (order.key,)))
        columns += key_columns(order, alias)
    asked = {order.key for order in orders if order.kind == ATTRIBUTE}
    if "start_time" not in asked:
        columns.append(Column(f"{RUN}.started_at", Sort.MOMENT, True))
    if "run_id" not in asked:
        columns.append(Column(f"{RUN}.id", Sort.ID))
    return Sql(" ".join(join.text for join in joins), all_of(joins).params if joins else ()), tuple(columns)


def key_columns(order: Order, alias: str) -> list[Column]:
    if order.kind == METRIC:
        rank = f"CASE WHEN {alias}.id IS NULL THEN 2 WHEN {alias}.is_nan THEN 1 ELSE 0 END"
        return [Column(rank, Sort.WHOLE), Column(f"COALESCE({alias}.value, 0.0)", Sort.NUMBER, order.down)]
    rank = f"CASE WHEN {alias}.id IS NULL THEN 1 ELSE 0 END"
    return [Column(rank, Sort.WHOLE), Column(f"COALESCE({alias}.value, '')", Sort.TEXT, order.down)]


def attribute_columns(order: Order) -> list[Column]:
    """Only the end may be missing: the runs that go on come last."""
    column = f"{RUN}.name" if order.kind == TAG else COLUMNS[order.key]
    if order.key == "end_time":
        rank = f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END"
        never = "TIMESTAMPTZ '1970-01-01 00:00:00+00'" if on_postgres() else "'1970-01-01 00:00:00'"
        return [Column(rank, Sort.WHOLE), Column(f"COALESCE({column}, {never})", Sort.MOMENT, order.down)]
    sort = Sort.MOMENT if order.key in MOMENTS else Sort.ID if order.key == "run_id" else Sort.TEXT
    return [Column(column, sort, order.down)]
