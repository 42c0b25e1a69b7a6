"""The search of experiments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.actors import Actor
from apps.ml.experiments.filters.grammar import ATTRIBUTE, Comparison, FilterError, parse
from apps.ml.experiments.filters.orders import read_orders
from apps.ml.experiments.filters.sql import Sql, marks, moment_condition, text_condition
from apps.ml.experiments.filters.vocabularies import EXPERIMENTS
from apps.ml.experiments.models import Experiment
from apps.ml.experiments.search.paging import Column, Sort
from apps.ml.experiments.search.tables import Search, in_order, of_key, ordered, page_of_ids, text_value
from deepseek.messages import Message

TABLE = "experiments_experiment"
VIEWS = {"ACTIVE_ONLY": f"{TABLE}.deleted_at IS NULL", "DELETED_ONLY": f"{TABLE}.deleted_at IS NOT NULL", "ALL": "1=1"}
COLUMNS = {
    "name": Column(f"{TABLE}.name", Sort.TEXT),
    "experiment_id": Column(f"{TABLE}.number", Sort.WHOLE),
    "creation_time": Column(f"{TABLE}.created_at", Sort.MOMENT),
    "last_update_time": Column(f"{TABLE}.updated_at", Sort.MOMENT),
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
    search = Search(
        source=Sql(TABLE),
        key=f"{TABLE}.id",
        conditions=[*conditions, *(condition(one) for one in comparisons)],
        columns=ordered(orders, COLUMNS, TIES if orders else NEWEST_FIRST),
        identity=["experiments", project_id, query.filter, list(query.order_by), query.view],
    )
    ids, token = page_of_ids(search, query.limit, query.token)
    return in_order(ids, Experiment.objects.visible_to(actor).in_bulk(ids)), token


def condition(comparison: Comparison) -> Sql:
    operator, value = comparison.operator, comparison.value
    if comparison.kind != ATTRIBUTE:
        return of_key("experiments_experimenttag", "experiment_id", f"{TABLE}.id", comparison, text_value)
    if comparison.key == "experiment_id":
        return of_number(comparison)
    column = COLUMNS[comparison.key]
    if column.sort == Sort.MOMENT:
        if isinstance(value, float):
            said = Message("Invalid value for numeric attribute '{key}': '{value}'", key=comparison.key, value=value)
            raise FilterError(said, start=comparison.start, end=comparison.end)
        return moment_condition(column.text, operator, value)  # type: ignore[arg-type]
    return text_condition(column.text, operator, value)  # type: ignore[arg-type]


def of_number(comparison: Comparison) -> Sql:
    """Ids are texts to clients and numbers here: they are the same or not, nothing else."""
    place = {"start": comparison.start, "end": comparison.end}
    if comparison.operator not in ("=", "!=", "IN", "NOT IN"):
        raise FilterError(
            Message("Invalid comparator for experiment_id: {operator}", operator=comparison.operator), **place
        )
    texts = comparison.value if isinstance(comparison.value, tuple) else (str(comparison.value),)
    wrong = next((text for text in texts if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII)), None)
    if wrong is not None:
        said = Message("Invalid experiment ID '{wrong}'. Experiment ID must be a valid integer.", wrong=wrong)
        raise FilterError(said, **place)
    numbers = tuple(int(text) if abs(int(text)) < TOP else -1 for text in texts)
    negated = "NOT " if comparison.operator in ("!=", "NOT IN") else ""
    return Sql(f"{TABLE}.number {negated}IN ({marks(numbers)})", numbers)
