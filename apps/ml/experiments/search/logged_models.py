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
    all_of,
    exists,
    joined,
    marks,
    moment_condition,
    number_condition,
    text_condition,
)
from apps.ml.experiments.filters.vocabularies import LOGGED_MODELS
from apps.ml.experiments.models import LoggedModel
from apps.ml.experiments.search.paging import Column, Sort
from apps.ml.experiments.search.runs import places_of
from apps.ml.experiments.search.tables import Search, in_order, of_key, page_of_ids, text_value
from apps.ml.experiments.states import LoggedModelState
from deepseek.messages import Message

TABLE, METRICS = "experiments_loggedmodel", "experiments_loggedmodelmetric"
OWNED = {PARAMETER: "experiments_loggedmodelparam", TAG: "experiments_loggedmodeltag"}
COLUMNS = {
    "name": Column(f"{TABLE}.name", Sort.TEXT),
    "model_id": Column(f"{TABLE}.id", Sort.ID),
    "model_type": Column(f"{TABLE}.model_type", Sort.TEXT),
    "status": Column(f"{TABLE}.state", Sort.TEXT),
    "source_run_id": Column(f"COALESCE({TABLE}.source_run_id, '')", Sort.TEXT),
    "creation_timestamp": Column(f"{TABLE}.created_at", Sort.MOMENT),
    "last_updated_timestamp": Column(f"{TABLE}.updated_at", Sort.MOMENT),
}
STATES = {state.value.upper(): state.value for state in LoggedModelState}
MOST_ORDERS, MAX_ORDER_CHARACTERS = 20, 1000


@dataclass(frozen=True, slots=True)
class Dataset:
    """Those of a name, of a digest, or of both; any, where one is empty."""

    name: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ModelOrder:
    """An attribute, or `metrics.<key>`, perhaps on one dataset."""

    field: str
    down: bool = False
    dataset: Dataset = field(default_factory=lambda: Dataset(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModelQuery:
    experiments: Sequence[str]
    filter: str = ""
    datasets: Sequence[Dataset] = ()
    order_by: Sequence[ModelOrder] = ()
    limit: int = 100
    token: str = ""


def search_logged_models(actor: Actor, project_id: int, query: LoggedModelQuery) -> tuple[list[LoggedModel], str]:
    """One page of models with their experiments, and the next token. Raises FilterError and BadToken."""
    conditions = [condition(one, query.datasets) for one in parse(query.filter, LOGGED_MODELS)]
    if query.datasets and not any(METRICS in one.text for one in conditions):
        conditions.append(measured(TRUE, query.datasets))
    joins, columns = ordering(query.order_by)
    places = places_of(actor, project_id, query.experiments)
    if not places:
        return [], ""
    scope = Sql(f"{TABLE}.experiment_id IN ({marks(places)})", tuple(places))
    orders = [[one.field, one.down, one.dataset.name, one.dataset.digest] for one in query.order_by]
    asked = [sorted(set(query.experiments)), query.filter, [[one.name, one.digest] for one in query.datasets], orders]
    search = Search(
        source=Sql(f"{TABLE} {joins.text}", joins.params),
        key=f"{TABLE}.id",
        conditions=[scope, Sql(f"{TABLE}.deleted_at IS NULL"), *conditions],
        columns=columns,
        identity=["logged-models", project_id, *asked],
    )
    ids, token = page_of_ids(search, query.limit, query.token)
    found = LoggedModel.objects.visible_to(actor).select_related("experiment").in_bulk(ids)
    return in_order(ids, found), token


# -- conditions -----------------------------------------------------------------------------------------------------
def condition(comparison: Comparison, datasets: Sequence[Dataset]) -> Sql:
    kind, operator, value = comparison.kind, comparison.operator, comparison.value
    if kind == METRIC:
        number = number_condition("x.value", operator, value)  # type: ignore[arg-type]
        nan = f"({number.text} OR x.is_nan)" if operator == "!=" else f"{number.text} AND NOT x.is_nan"
        return measured(Sql(f"x.key = %s AND {nan}", (comparison.key, *number.params)), datasets)
    if kind != ATTRIBUTE:
        return of_key(OWNED[kind], "model_id", f"{TABLE}.id", comparison, text_value)
    column = COLUMNS[comparison.key]
    if column.sort == Sort.MOMENT:
        return moment_condition(column.text, operator, value)  # type: ignore[arg-type]
    if comparison.key == "status":
        return of_state(operator, value)  # type: ignore[arg-type]
    return text_condition(column.text, operator, value)  # type: ignore[arg-type]


def of_state(operator: str, value: str | tuple[str, ...]) -> Sql:
    """READY, as MLflow keeps it, or LOGGED_MODEL_READY, as it tells it."""
    if operator in ("LIKE", "ILIKE"):
        return text_condition(f"UPPER({TABLE}.state)", operator, value)
    named = [value] if isinstance(value, str) else value
    states = [state for name in named if (state := STATES.get(name.removeprefix("LOGGED_MODEL_")))]
    negated = operator in ("!=", "NOT IN")
    if not states:
        return TRUE if negated else FALSE
    return Sql(f"{TABLE}.state {'NOT ' if negated else ''}IN ({marks(states)})", tuple(states))


def measured(metric: Sql, datasets: Sequence[Dataset]) -> Sql:
    """A metric of the model is so, on one of the datasets if there are some."""
    conditions = [Sql(f"x.model_id = {TABLE}.id"), metric]
    if datasets:
        either = joined(" OR ", [on(one, "x") for one in datasets])
        conditions.append(Sql(f"({either.text})", either.params))
    where = all_of(conditions)
    return exists(Sql(f"{METRICS} x WHERE {where.text}", where.params), apart=True)


def on(dataset: Dataset, alias: str) -> Sql:
    columns = {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
    same = all_of([Sql(f"{alias}.{column} = %s", (value,)) for column, value in columns.items() if value])
    return Sql(f"({same.text})", same.params)


# -- orders ---------------------------------------------------------------------------------------------------------
def ordering(orders: Sequence[ModelOrder]) -> tuple[Sql, list[Column]]:
    """Joins and columns; models without the metric come last, and always the newest first, then the smaller id."""
    if len(orders) > MOST_ORDERS:
        said = Message(
            "Invalid order_by: {count} clauses, at most {most_orders} are allowed.",
            count=len(orders),
            most_orders=MOST_ORDERS,
        )
        raise FilterError(said, field="order_by")
    joins: list[Sql] = []
    columns: list[Column] = []
    named: set[str] = set()
    for number, order in enumerate(orders):
        check_text(order.field, "order_by", MAX_ORDER_CHARACTERS)
        kind, dot, key = order.field.partition(".")
        if dot and kind != "metrics":
            said = Message("Invalid order by field name: {field}. Only metrics are supported.", field=order.field)
            raise FilterError(said, field="order_by")
        if dot:
            joins.append(newest(f"o{number}", key, order.dataset))
            columns += metric_columns(f"o{number}", order.down)
            continue
        name = LOGGED_MODELS.attributes.get(order.field)
        if name is None:
            raise FilterError(Message("Invalid order by field name: {field}", field=order.field), field="order_by")
        named.add(name)
        columns += attribute_columns(COLUMNS[name], order.down, name)
    for name, down in (("creation_timestamp", True), ("model_id", False)):
        if name not in named:
            columns.append(Column(COLUMNS[name].text, COLUMNS[name].sort, down))
    return joined(" ", joins), columns


def attribute_columns(column: Column, down: bool, name: str) -> list[Column]:
    """A model that no run made comes last."""
    rank = Column(f"CASE WHEN {TABLE}.source_run_id IS NULL THEN 1 ELSE 0 END", Sort.WHOLE)
    return [*([rank] if name == "source_run_id" else []), Column(column.text, column.sort, down)]


def metric_columns(alias: str, down: bool) -> list[Column]:
    rank = f"CASE WHEN {alias}.id IS NULL THEN 2 WHEN {alias}.is_nan THEN 1 ELSE 0 END"
    return [Column(rank, Sort.WHOLE), Column(f"COALESCE({alias}.value, 0.0)", Sort.NUMBER, down)]


def newest(alias: str, key: str, dataset: Dataset) -> Sql:
    """The metric's row that was logged last for the model: by time, then step, then the run."""
    conditions = [Sql(f"x.model_id = {TABLE}.id"), Sql("x.key = %s", (key,))]
    if dataset.name or dataset.digest:
        conditions.append(on(dataset, "x"))
    where = all_of(conditions)
    row = f"SELECT x.id FROM {METRICS} x WHERE {where.text} ORDER BY x.at DESC, x.step DESC, x.run_id LIMIT 1"
    return Sql(f"LEFT JOIN {METRICS} {alias} ON {alias}.id = ({row})", where.params)
