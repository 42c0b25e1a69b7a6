"""The search of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.actors import Actor
from apps.core.request_values import MAX_INT64, parse_int
from apps.ml.experiments.filters.grammar import ATTRIBUTE, Comparison, FilterError, parse
from apps.ml.experiments.filters.orders import read_orders
from apps.ml.experiments.filters.sql import Sql, build_moment_condition, build_text_condition, format_placeholders
from apps.ml.experiments.filters.vocabularies import EXPERIMENTS
from apps.ml.experiments.models import Experiment
from apps.ml.experiments.search.paging import ColumnType, OrderColumn
from apps.ml.experiments.search.tables import (
    TableSearch,
    build_key_condition,
    build_order_columns,
    build_text_value_condition,
    fetch_page_ids,
    order_rows,
)
from deepseek.messages import Message

TABLE = "experiments_experiment"
VIEWS = {"ACTIVE_ONLY": f"{TABLE}.deleted_at IS NULL", "DELETED_ONLY": f"{TABLE}.deleted_at IS NOT NULL", "ALL": "1=1"}
COLUMNS = {
    "name": OrderColumn(f"{TABLE}.name", ColumnType.TEXT),
    "experiment_id": OrderColumn(f"{TABLE}.number", ColumnType.WHOLE),
    "creation_time": OrderColumn(f"{TABLE}.created_at", ColumnType.MOMENT),
    "last_update_time": OrderColumn(f"{TABLE}.updated_at", ColumnType.MOMENT),
}
NEWEST_FIRST = (("creation_time", True), ("experiment_id", False))
TIES = (("experiment_id", True),)
TOP = 2**31  # numbers are smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentQuery:
    filter: str = ""
    order_by: Sequence[str] = ()
    view: str = "ACTIVE_ONLY"
    limit: int = 1000
    token: str = ""


def search_experiments(actor: Actor, project_id: int, query: ExperimentQuery) -> tuple[list[Experiment], str]:
    """One page, with the tags in `kept_tags`, and the next token. Raises FilterError and BadToken."""
    comparisons, orders = parse(query.filter, EXPERIMENTS), read_orders(query.order_by, EXPERIMENTS)
    for order in orders:
        if order.kind != ATTRIBUTE:
            raise FilterError(Message("Invalid order_by entity: {order_kind}", order_kind=order.kind), field="order_by")
    conditions = [Sql(f"{TABLE}.project_id = %s", (project_id,)), Sql(VIEWS[query.view])]
    search = TableSearch(
        source=Sql(TABLE),
        key=f"{TABLE}.id",
        conditions=[*conditions, *(build_condition(comparison) for comparison in comparisons)],
        columns=build_order_columns(orders, COLUMNS, TIES if orders else NEWEST_FIRST),
        identity=["experiments", project_id, query.filter, list(query.order_by), query.view],
    )
    ids, token = fetch_page_ids(search, query.limit, query.token)
    return order_rows(ids, Experiment.objects.visible_to(actor).in_bulk(ids)), token


def build_condition(comparison: Comparison) -> Sql:
    operator, value = comparison.operator, comparison.value
    if comparison.kind != ATTRIBUTE:
        return build_key_condition(
            "experiments_experimenttag", "experiment_id", f"{TABLE}.id", comparison, build_text_value_condition
        )
    if comparison.key == "experiment_id":
        return build_number_condition(comparison)
    column = COLUMNS[comparison.key]
    if column.sort == ColumnType.MOMENT:
        if isinstance(value, float):
            message = Message("Invalid value for numeric attribute '{key}': '{value}'", key=comparison.key, value=value)
            raise FilterError(message, start=comparison.start, end=comparison.end)
        return build_moment_condition(column.text, operator, value)  # type: ignore[arg-type]
    return build_text_condition(column.text, operator, value)  # type: ignore[arg-type]


def build_number_condition(comparison: Comparison) -> Sql:
    """Ids are texts to clients and numbers here: they are the same or not, nothing else."""
    place = {"start": comparison.start, "end": comparison.end}
    if comparison.operator not in ("=", "!=", "IN", "NOT IN"):
        raise FilterError(
            Message("Invalid comparator for experiment_id: {operator}", operator=comparison.operator), **place
        )
    texts = comparison.value if isinstance(comparison.value, tuple) else (str(comparison.value),)
    numbers = []
    for text in texts:
        if (number := parse_int(text, -MAX_INT64)) is None:
            message = Message("Invalid experiment ID '{wrong}'. Experiment ID must be a valid integer.", wrong=text)
            raise FilterError(message, **place)
        numbers.append(number if abs(number) < TOP else -1)
    negated = "NOT " if comparison.operator in ("!=", "NOT IN") else ""
    return Sql(f"{TABLE}.number {negated}IN ({format_placeholders(numbers)})", tuple(numbers))
