"""Search logged models, registered models and model versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from apps.gateways.mlflow import logged_models, model_versions, registered_models
from apps.gateways.mlflow.request import MlflowCall, get_text_member, missing_parameter_error, mistyped_parameter_error
from apps.gateways.mlflow.responses import invalid_parameter_error
from apps.gateways.mlflow.search import get_page_token, parse_experiment_ids
from apps.ml.experiments.models import LoggedModel, LoggedModelMetric, LoggedModelParam, LoggedModelTag
from apps.ml.experiments.search.logged_models import DatasetFilter, LoggedModelQuery, ModelOrder, search_logged_models
from apps.ml.registry.models import Alias, Model, ModelTag
from apps.ml.registry.search import RegistryQuery, list_newest_by_stage, search_models, search_versions

DEFAULT_LOGGED_MODELS, MAX_LOGGED_MODELS = 100, 50_000
DEFAULT_MODELS, MAX_MODELS = 100, 1000
DEFAULT_VERSIONS, MAX_VERSIONS = 10_000, 200_000


def find_logged_models(call: MlflowCall) -> dict[str, Any]:
    if call.parameters.get("experiment_ids") is None:
        raise missing_parameter_error("experiment_ids")
    datasets = [
        DatasetFilter(
            get_text_member("datasets", item, "dataset_name"), get_text_member("datasets", item, "dataset_digest")
        )
        for item in call.get_objects("datasets")
    ]
    if not all(dataset.name for dataset in datasets):
        raise invalid_parameter_error("`dataset_name` in the `datasets` clause must be specified.")
    limit = call.get_integer("max_results", 0) or DEFAULT_LOGGED_MODELS
    if not 0 < limit <= MAX_LOGGED_MODELS:
        raise mistyped_parameter_error("max_results", call.get_value("max_results"))
    query = LoggedModelQuery(
        experiments=parse_experiment_ids(call),
        filter=call.get_text("filter"),
        datasets=datasets,
        order_by=[parse_model_order(item) for item in call.get_objects("order_by")],
        limit=limit,
        token=get_page_token(call),
    )
    rows, token = search_logged_models(call.actor, call.project_id, query)
    return build_page("models", serialize_logged_models(rows), token)


def parse_model_order(item: dict[str, Any]) -> ModelOrder:
    name, digest = (
        get_text_member("order_by", item, "dataset_name"),
        get_text_member("order_by", item, "dataset_digest"),
    )
    upwards = item.get("ascending")
    if upwards not in (None, True, False):
        raise mistyped_parameter_error("order_by", item)
    return ModelOrder(get_text_member("order_by", item, "field_name"), upwards is False, DatasetFilter(name, digest))


def serialize_logged_models(rows: Sequence[LoggedModel]) -> list[dict[str, Any]]:
    """Models whole; three queries, however many they are."""
    ids = [row.pk for row in rows]
    params, tags, metrics = defaultdict(list), defaultdict(list), defaultdict(list)
    columns = ("model_id", "key", "value")
    for key, *pair in LoggedModelParam.objects.filter(model__in=ids).order_by("key").values_list(*columns):
        params[key].append(pair)
    for key, *pair in LoggedModelTag.objects.filter(model__in=ids).order_by("pk").values_list(*columns):
        tags[key].append(pair)
    for metric in LoggedModelMetric.objects.filter(model__in=ids).order_by("key", "pk"):
        metrics[metric.model_id].append(metric)
    return [
        logged_models.serialize_logged_model(row, params=params[row.pk], tags=tags[row.pk], metrics=metrics[row.pk])
        for row in rows
    ]


def build_page(name: str, rows: list[dict[str, Any]], token: str) -> dict[str, Any]:
    answer: dict[str, Any] = {name: rows} if rows else {}
    return answer | ({"next_page_token": token} if token else {})


# -- the registry ---------------------------------------------------------------------------------------------------
def find_registered_models(call: MlflowCall) -> dict[str, Any]:
    limit = call.get_integer("max_results", DEFAULT_MODELS)
    if limit > MAX_MODELS:
        raise mistyped_parameter_error("max_results", call.get_value("max_results"))
    if limit < 1:
        raise invalid_parameter_error(f"Invalid value for max_results. It must be a positive integer, but got {limit}")
    rows, token = search_models(call.actor, call.project_id, build_registry_query(call, limit))
    return build_page("registered_models", serialize_registered_models(rows), token)


def find_model_versions(call: MlflowCall) -> dict[str, Any]:
    limit = call.get_integer("max_results", DEFAULT_VERSIONS)
    if limit > MAX_VERSIONS:
        raise mistyped_parameter_error("max_results", call.get_value("max_results"))
    if limit < 1:
        raise invalid_parameter_error(f"Invalid value for max_results. It must be a positive integer, but got {limit}")
    rows, token = search_versions(call.actor, call.project_id, build_registry_query(call, limit))
    return build_page("model_versions", model_versions.serialize_versions(rows), token)


def build_registry_query(call: MlflowCall, limit: int) -> RegistryQuery:
    return RegistryQuery(
        limit=limit, filter=call.get_text("filter"), order_by=call.get_texts("order_by"), token=get_page_token(call)
    )


def serialize_registered_models(rows: Sequence[Model]) -> list[dict[str, Any]]:
    """Models with the newest version of each of their stages; five queries, however many they are."""
    ids = [row.pk for row in rows]
    newest, tags, aliases = defaultdict(list), defaultdict(list), defaultdict(list)
    versions = list_newest_by_stage(ids)
    for version, payload in zip(versions, model_versions.serialize_versions(versions), strict=True):
        newest[version.model_id].append(payload)
    columns = ("model_id", "key", "value")
    for key, *pair in ModelTag.objects.filter(model__in=ids).order_by("pk").values_list(*columns):
        tags[key].append(pair)
    names = Alias.objects.filter(model__in=ids).order_by("name")
    for key, *pair in names.values_list("model_id", "name", "version__number"):
        aliases[key].append(pair)
    return [
        registered_models.serialize_registered_model(
            row, versions=newest[row.pk], tags=tags[row.pk], aliases=aliases[row.pk]
        )
        for row in rows
    ]
