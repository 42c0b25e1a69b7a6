"""The searches of registered models and of versions, as MLflow's clients ask them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.actors import Actor
from apps.ml.experiments.filters.grammar import ATTRIBUTE, FilterError, Vocabulary, parse
from apps.ml.experiments.filters.orders import Order, read_orders
from apps.ml.experiments.filters.sql import Sql, fetch_rows, format_placeholders
from apps.ml.experiments.search.paging import ColumnType, OrderColumn
from apps.ml.experiments.search.tables import TableSearch, build_order_columns, fetch_page_ids, order_rows
from apps.ml.registry.filters import MODEL, MODELS, VERSION, VERSIONS, build_conditions, normalize_order
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.registry.states import STAGES
from deepseek.messages import Message

MODEL_COLUMNS = {
    "name": OrderColumn(f"{MODEL}.name", ColumnType.TEXT),
    "last_updated_timestamp": OrderColumn(f"{MODEL}.updated_at", ColumnType.MOMENT),
    "id": OrderColumn(f"{MODEL}.id", ColumnType.WHOLE),
}
VERSION_COLUMNS = {
    "name": OrderColumn(f"{MODEL}.name", ColumnType.TEXT),
    "version_number": OrderColumn(f"{VERSION}.number", ColumnType.WHOLE),
    "creation_timestamp": OrderColumn(f"{VERSION}.created_at", ColumnType.MOMENT),
    "last_updated_timestamp": OrderColumn(f"{VERSION}.updated_at", ColumnType.MOMENT),
}
BY_NAME = (("name", False), ("version_number", True))
NEWEST_FIRST = (("last_updated_timestamp", True), ("name", False), ("version_number", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryQuery:
    limit: int
    filter: str = ""
    order_by: Sequence[str] = ()
    token: str = ""


def search_models(actor: Actor, project_id: int, query: RegistryQuery) -> tuple[list[Model], str]:
    """One page of models by their names, and the next token. Raises FilterError and BadToken."""
    orders = parse_orders([normalize_order(text) for text in query.order_by], MODELS)
    scope = [Sql(f"{MODEL}.project_id = %s", (project_id,)), Sql(f"{MODEL}.deleted_at IS NULL")]
    search = TableSearch(
        source=Sql(MODEL),
        key=f"{MODEL}.id",
        conditions=[*scope, *build_conditions(parse(query.filter, MODELS), MODEL)],
        columns=build_order_columns(orders, MODEL_COLUMNS, (("name", False),)),
        identity=["models", project_id, query.filter, list(query.order_by)],
    )
    ids, token = fetch_page_ids(search, query.limit, query.token)
    return order_rows(ids, Model.objects.visible_to(actor).in_bulk(ids)), token


def search_versions(actor: Actor, project_id: int, query: RegistryQuery) -> tuple[list[ModelVersion], str]:
    """One page of versions with their models and without their documents, and the next token."""
    orders = parse_orders(query.order_by, VERSIONS)
    scope = [
        Sql(f"{MODEL}.project_id = %s", (project_id,)),
        Sql(f"{MODEL}.deleted_at IS NULL"),
        Sql(f"{VERSION}.deleted_at IS NULL"),
    ]
    search = TableSearch(
        source=Sql(f"{VERSION} JOIN {MODEL} ON {MODEL}.id = {VERSION}.model_id"),
        key=f"{VERSION}.id",
        conditions=[*scope, *build_conditions(parse(query.filter, VERSIONS), VERSION)],
        columns=build_order_columns(
            orders, VERSION_COLUMNS, (("name", False), ("version_number", True)) if orders else NEWEST_FIRST
        ),
        identity=["versions", project_id, query.filter, list(query.order_by)],
    )
    ids, token = fetch_page_ids(search, query.limit, query.token)
    rows = ModelVersion.objects.visible_to(actor).select_related("model").defer("document")
    return order_rows(ids, rows.in_bulk(ids)), token


def list_newest_by_stage(models: Sequence[int]) -> list[ModelVersion]:
    """The newest version of each stage of each of these models, by a step into an index for each; two queries."""
    if not models:
        return []
    stages = " UNION ALL ".join("SELECT CAST(%s AS VARCHAR(20)) AS stage" for _ in STAGES)
    newest = (
        f"SELECT v.id FROM {VERSION} v WHERE v.model_id = {MODEL}.id AND v.stage = s.stage AND v.deleted_at IS NULL"
        " ORDER BY v.number DESC LIMIT 1"
    )
    text = f"SELECT ({newest}) FROM {MODEL} CROSS JOIN ({stages}) s WHERE {MODEL}.id IN ({format_placeholders(models)})"
    ids = [row[0] for row in fetch_rows(Sql(text, (*STAGES, *models))) if row[0] is not None]
    rows = ModelVersion.objects.filter(pk__in=ids).select_related("model").defer("document")
    return list(rows.order_by("model_id", "number"))


def parse_orders(texts: Sequence[str], vocabulary: Vocabulary) -> tuple[Order, ...]:
    orders = read_orders(texts, vocabulary)
    for order in orders:
        if order.kind != ATTRIBUTE:
            raise FilterError(Message("Invalid order_by entity: {order_kind}", order_kind=order.kind), field="order_by")
    return orders
