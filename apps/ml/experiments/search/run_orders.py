"""The orders of runs as segments, one after the other: each an order that an index can give, or a sort of what fits.

Where a metric comes first, its numbers come from the index of the metric, then NaN, then the runs without it. Other
keys are joined. Always last, MLflow's ties: the run that began last, then the smaller id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.ml.experiments.filters.grammar import ATTRIBUTE, METRIC, TAG, Comparison
from apps.ml.experiments.filters.orders import Order
from apps.ml.experiments.filters.runs import COLUMNS, RUN, TABLES, build_value_condition
from apps.ml.experiments.filters.sql import Sql, is_postgres, join_with_and
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.search.paging import ColumnType, OrderColumn

MOMENTS = frozenset({"start_time", "end_time"})


@dataclass(frozen=True, slots=True)
class Segment:
    """Runs in one order. `source` names the tables; `scope` is the column with the experiment."""

    source: Sql
    conditions: tuple[Sql, ...]
    columns: tuple[OrderColumn, ...]
    scope: str = f"{RUN}.experiment_id"
    run: str = f"{RUN}.id"


def select_remaining_comparisons(orders: Sequence[Order], comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons that the segments do not see to. Said twice, a planner takes one for two and expects no rows."""
    if not orders or orders[0].kind != METRIC:
        return list(comparisons)
    return [
        comparison for comparison in comparisons if not (comparison.kind == METRIC and comparison.key == orders[0].key)
    ]


def build_segments(orders: Sequence[Order], comparisons: Sequence[Comparison]) -> list[Segment]:
    if not orders or orders[0].kind != METRIC:
        joins, columns = build_order_keys(orders)
        return [Segment(build_source(RUN, joins), (), columns)]
    return build_metric_segments(orders, comparisons)


def build_metric_segments(orders: Sequence[Order], comparisons: Sequence[Comparison]) -> list[Segment]:
    """Numbers, NaN and missing; what a filter on the same metric leaves out is not even asked for."""
    first, joins_and_columns = orders[0], build_order_keys(orders[1:], start=1)
    joins, rest = joins_and_columns
    same = [comparison for comparison in comparisons if comparison.kind == METRIC and comparison.key == first.key]
    bounds = [build_value_condition("o0", comparison) for comparison in same]
    ties = (
        rest
        if len(orders) > 1
        else (OrderColumn("o0.started_at", ColumnType.MOMENT, True), OrderColumn("o0.run_id", ColumnType.ID))
    )
    # SQLite takes the tables of a CROSS JOIN in the order in which they stand; PostgreSQL decides for itself.
    tables = build_source(f"experiments_metric o0 CROSS JOIN {RUN}", joins)
    of_key = Sql(f"{RUN}.id = o0.run_id AND o0.key = %s", (first.key,))
    walked = ("o0.experiment_id", "o0.run_id")
    numbers = (of_key, Sql("NOT o0.is_nan"), *bounds)
    segments = [Segment(tables, numbers, (OrderColumn("o0.value", ColumnType.NUMBER, first.down), *ties), *walked)]
    if all(comparison.operator == "!=" for comparison in same):
        segments.append(Segment(tables, (of_key, Sql("o0.is_nan")), ties, *walked))
    if not same:
        absent = "NOT EXISTS (SELECT 1 FROM experiments_metric x WHERE x.run_id = {run}.id AND x.key = %s)"
        missing = Sql(absent.format(run=RUN), (first.key,))
        segments.append(Segment(build_source(RUN, joins), (missing,), rest))
    return segments


def build_source(tables: str, joins: Sql) -> Sql:
    return Sql(f"{tables} {joins.text}", joins.params)


def build_order_keys(orders: Sequence[Order], start: int = 0) -> tuple[Sql, tuple[OrderColumn, ...]]:
    """The joins that bring the keys of these orders, and the columns to sort by, MLflow's ties among them."""
    joins: list[Sql] = []
    columns: list[OrderColumn] = []
    for number, order in enumerate(orders, start):
        if order.kind == ATTRIBUTE or order.key == NAME_TAG:
            columns += build_attribute_columns(order)
            continue
        alias = f"o{number}"
        table = TABLES[order.kind]
        joins.append(Sql(f"LEFT JOIN {table} {alias} ON {alias}.run_id = {RUN}.id AND {alias}.key = %s", (order.key,)))
        columns += build_key_columns(order, alias)
    ordered_attributes = {order.key for order in orders if order.kind == ATTRIBUTE}
    if "start_time" not in ordered_attributes:
        columns.append(OrderColumn(f"{RUN}.started_at", ColumnType.MOMENT, True))
    if "run_id" not in ordered_attributes:
        columns.append(OrderColumn(f"{RUN}.id", ColumnType.ID))
    return Sql(" ".join(join.text for join in joins), join_with_and(joins).params if joins else ()), tuple(columns)


def build_key_columns(order: Order, alias: str) -> list[OrderColumn]:
    if order.kind == METRIC:
        rank = f"CASE WHEN {alias}.id IS NULL THEN 2 WHEN {alias}.is_nan THEN 1 ELSE 0 END"
        return [
            OrderColumn(rank, ColumnType.WHOLE),
            OrderColumn(f"COALESCE({alias}.value, 0.0)", ColumnType.NUMBER, order.down),
        ]
    rank = f"CASE WHEN {alias}.id IS NULL THEN 1 ELSE 0 END"
    return [
        OrderColumn(rank, ColumnType.WHOLE),
        OrderColumn(f"COALESCE({alias}.value, '')", ColumnType.TEXT, order.down),
    ]


def build_attribute_columns(order: Order) -> list[OrderColumn]:
    """Only the end may be missing: the runs that go on come last."""
    column = f"{RUN}.name" if order.kind == TAG else COLUMNS[order.key]
    if order.key == "end_time":
        rank = f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END"
        never = "TIMESTAMPTZ '1970-01-01 00:00:00+00'" if is_postgres() else "'1970-01-01 00:00:00'"
        return [
            OrderColumn(rank, ColumnType.WHOLE),
            OrderColumn(f"COALESCE({column}, {never})", ColumnType.MOMENT, order.down),
        ]
    sort = ColumnType.MOMENT if order.key in MOMENTS else ColumnType.ID if order.key == "run_id" else ColumnType.TEXT
    return [OrderColumn(column, sort, order.down)]
