"""The search of logged models: a metric is a model's own, on a dataset where the search names some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.core.actors import Actor
from apps.ml.experiments.filters.grammar import (
    ATTRIBUTE,
    METRIC,
    PARAMETER,
    TAG,
    Comparison,
    FilterError,
    check_text,
    parse,
)
from apps.ml.experiments.filters.sql import (
    FALSE,
    TRUE,
    Sql,
    build_exists,
    build_moment_condition,
    build_number_condition,
    build_text_condition,
    format_placeholders,
    join_sql,
    join_with_and,
)
from apps.ml.experiments.filters.vocabularies import LOGGED_MODELS
from apps.ml.experiments.models import LoggedModel
from apps.ml.experiments.search.paging import ColumnType, OrderColumn
from apps.ml.experiments.search.runs import find_experiments
from apps.ml.experiments.search.tables import (
    TableSearch,
    build_key_condition,
    build_text_value_condition,
    fetch_page_ids,
    order_rows,
)
from apps.ml.experiments.states import LoggedModelState
from deepseek.messages import Message

TABLE, METRICS = "experiments_loggedmodel", "experiments_loggedmodelmetric"
OWNED = {PARAMETER: "experiments_loggedmodelparam", TAG: "experiments_loggedmodeltag"}
COLUMNS = {
    "name": OrderColumn(f"{TABLE}.name", ColumnType.TEXT),
    "model_id": OrderColumn(f"{TABLE}.id", ColumnType.ID),
    "model_type": OrderColumn(f"{TABLE}.model_type", ColumnType.TEXT),
    "status": OrderColumn(f"{TABLE}.state", ColumnType.TEXT),
    "source_run_id": OrderColumn(f"COALESCE({TABLE}.source_run_id, '')", ColumnType.TEXT),
    "creation_timestamp": OrderColumn(f"{TABLE}.created_at", ColumnType.MOMENT),
    "last_updated_timestamp": OrderColumn(f"{TABLE}.updated_at", ColumnType.MOMENT),
}
STATES = {state.value.upper(): state.value for state in LoggedModelState}
MOST_ORDERS, MAX_ORDER_CHARACTERS = 20, 1000


@dataclass(frozen=True, slots=True)
class DatasetFilter:
    """Those of a name, of a digest, or of both; any, where one is empty."""

    name: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ModelOrder:
    """An attribute, or `metrics.<key>`, perhaps on one dataset."""

    field: str
    down: bool = False
    dataset: DatasetFilter = field(default_factory=lambda: DatasetFilter(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModelQuery:
    experiments: Sequence[str]
    filter: str = ""
    datasets: Sequence[DatasetFilter] = ()
    order_by: Sequence[ModelOrder] = ()
    limit: int = 100
    token: str = ""


def search_logged_models(actor: Actor, project_id: int, query: LoggedModelQuery) -> tuple[list[LoggedModel], str]:
    """One page of models with their experiments, and the next token. Raises FilterError and BadToken."""
    conditions = [build_condition(item, query.datasets) for item in parse(query.filter, LOGGED_MODELS)]
    if query.datasets and not any(METRICS in item.text for item in conditions):
        conditions.append(build_measured_condition(TRUE, query.datasets))
    joins, columns = build_order(query.order_by)
    places = find_experiments(actor, project_id, query.experiments)
    if not places:
        return [], ""
    scope = Sql(f"{TABLE}.experiment_id IN ({format_placeholders(places)})", tuple(places))
    orders = [[item.field, item.down, item.dataset.name, item.dataset.digest] for item in query.order_by]
    query_identity = [
        sorted(set(query.experiments)),
        query.filter,
        [[item.name, item.digest] for item in query.datasets],
        orders,
    ]
    search = TableSearch(
        source=Sql(f"{TABLE} {joins.text}", joins.params),
        key=f"{TABLE}.id",
        conditions=[scope, Sql(f"{TABLE}.deleted_at IS NULL"), *conditions],
        columns=columns,
        identity=["logged-models", project_id, *query_identity],
    )
    ids, token = fetch_page_ids(search, query.limit, query.token)
    models = LoggedModel.objects.visible_to(actor).select_related("experiment").in_bulk(ids)
    return order_rows(ids, models), token


# -- conditions -----------------------------------------------------------------------------------------------------
def build_condition(comparison: Comparison, datasets: Sequence[DatasetFilter]) -> Sql:
    kind, operator, value = comparison.kind, comparison.operator, comparison.value
    if kind == METRIC:
        number = build_number_condition("x.value", operator, value)  # type: ignore[arg-type]
        nan = f"({number.text} OR x.is_nan)" if operator == "!=" else f"{number.text} AND NOT x.is_nan"
        return build_measured_condition(Sql(f"x.key = %s AND {nan}", (comparison.key, *number.params)), datasets)
    if kind != ATTRIBUTE:
        return build_key_condition(OWNED[kind], "model_id", f"{TABLE}.id", comparison, build_text_value_condition)
    column = COLUMNS[comparison.key]
    if column.sort == ColumnType.MOMENT:
        return build_moment_condition(column.text, operator, value)  # type: ignore[arg-type]
    if comparison.key == "status":
        return build_state_condition(operator, value)  # type: ignore[arg-type]
    return build_text_condition(column.text, operator, value)  # type: ignore[arg-type]


def build_state_condition(operator: str, value: str | tuple[str, ...]) -> Sql:
    """READY, as MLflow keeps it, or LOGGED_MODEL_READY, as it tells it."""
    if operator in ("LIKE", "ILIKE"):
        return build_text_condition(f"UPPER({TABLE}.state)", operator, value)
    names = [value] if isinstance(value, str) else value
    states = [state for name in names if (state := STATES.get(name.removeprefix("LOGGED_MODEL_")))]
    negated = operator in ("!=", "NOT IN")
    if not states:
        return TRUE if negated else FALSE
    return Sql(f"{TABLE}.state {'NOT ' if negated else ''}IN ({format_placeholders(states)})", tuple(states))


def build_measured_condition(metric: Sql, datasets: Sequence[DatasetFilter]) -> Sql:
    """A metric of the model is so, on one of the datasets if there are some."""
    conditions = [Sql(f"x.model_id = {TABLE}.id"), metric]
    if datasets:
        either = join_sql(" OR ", [build_dataset_condition(dataset, "x") for dataset in datasets])
        conditions.append(Sql(f"({either.text})", either.params))
    where = join_with_and(conditions)
    return build_exists(Sql(f"{METRICS} x WHERE {where.text}", where.params), apart=True)


def build_dataset_condition(dataset: DatasetFilter, alias: str) -> Sql:
    columns = {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
    same = join_with_and([Sql(f"{alias}.{column} = %s", (value,)) for column, value in columns.items() if value])
    return Sql(f"({same.text})", same.params)


# -- orders ---------------------------------------------------------------------------------------------------------
def build_order(orders: Sequence[ModelOrder]) -> tuple[Sql, list[OrderColumn]]:
    """Joins and columns; models without the metric come last, and always the newest first, then the smaller id."""
    if len(orders) > MOST_ORDERS:
        message = Message(
            "Invalid order_by: {count} clauses, at most {most_orders} are allowed.",
            count=len(orders),
            most_orders=MOST_ORDERS,
        )
        raise FilterError(message, field="order_by")
    joins: list[Sql] = []
    columns: list[OrderColumn] = []
    ordered_names: set[str] = set()
    for number, order in enumerate(orders):
        check_text(order.field, "order_by", MAX_ORDER_CHARACTERS)
        kind, dot, key = order.field.partition(".")
        if dot and kind != "metrics":
            message = Message("Invalid order by field name: {field}. Only metrics are supported.", field=order.field)
            raise FilterError(message, field="order_by")
        if dot:
            joins.append(build_newest_join(f"o{number}", key, order.dataset))
            columns += build_metric_columns(f"o{number}", order.down)
            continue
        name = LOGGED_MODELS.attributes.get(order.field)
        if name is None:
            raise FilterError(Message("Invalid order by field name: {field}", field=order.field), field="order_by")
        ordered_names.add(name)
        columns += build_attribute_columns(COLUMNS[name], order.down, name)
    for name, down in (("creation_timestamp", True), ("model_id", False)):
        if name not in ordered_names:
            columns.append(OrderColumn(COLUMNS[name].text, COLUMNS[name].sort, down))
    return join_sql(" ", joins), columns


def build_attribute_columns(column: OrderColumn, down: bool, name: str) -> list[OrderColumn]:
    """A model that no run made comes last."""
    rank = OrderColumn(f"CASE WHEN {TABLE}.source_run_id IS NULL THEN 1 ELSE 0 END", ColumnType.WHOLE)
    return [*([rank] if name == "source_run_id" else []), OrderColumn(column.text, column.sort, down)]


def build_metric_columns(alias: str, down: bool) -> list[OrderColumn]:
    rank = f"CASE WHEN {alias}.id IS NULL THEN 2 WHEN {alias}.is_nan THEN 1 ELSE 0 END"
    return [OrderColumn(rank, ColumnType.WHOLE), OrderColumn(f"COALESCE({alias}.value, 0.0)", ColumnType.NUMBER, down)]


def build_newest_join(alias: str, key: str, dataset: DatasetFilter) -> Sql:
    """The metric's row that was logged last for the model: by time, then step, then the run."""
    conditions = [Sql(f"x.model_id = {TABLE}.id"), Sql("x.key = %s", (key,))]
    if dataset.name or dataset.digest:
        conditions.append(build_dataset_condition(dataset, "x"))
    where = join_with_and(conditions)
    row = f"SELECT x.id FROM {METRICS} x WHERE {where.text} ORDER BY x.at DESC, x.step DESC, x.run_id LIMIT 1"
    return Sql(f"LEFT JOIN {METRICS} {alias} ON {alias}.id = ({row})", where.params)
