"""The searches of logged models, of registered models and of versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from apps.gateways.mlflow import logged_models, model_versions, registered_models
from apps.gateways.mlflow.request import Ask, member, missing, mistyped
from apps.gateways.mlflow.responses import wrong
from apps.gateways.mlflow.search import experiment_ids, token_of
from apps.ml.experiments.models import LoggedModel, LoggedModelMetric, LoggedModelParam, LoggedModelTag
from apps.ml.experiments.search.logged_models import Dataset, LoggedModelQuery, ModelOrder, search_logged_models
from apps.ml.registry.models import Alias, Model, ModelTag
from apps.ml.registry.search import RegistryQuery, newest_of, search_models, search_versions

USUAL_LOGGED, MOST_LOGGED = 100, 50_000
USUAL_MODELS, MOST_MODELS = 100, 1000
USUAL_VERSIONS, MOST_VERSIONS = 10_000, 200_000


def logged(ask: Ask) -> dict[str, Any]:
    if ask.given.get("experiment_ids") is None:
        raise missing("experiment_ids")
    datasets = [Dataset(member("datasets", one, "dataset_name"), member("datasets", one, "dataset_digest"))
                for one in ask.items("datasets")]  # fmt: skip
    if not all(one.name for one in datasets):
        raise wrong("`dataset_name` in the `datasets` clause must be specified.")
    limit = ask.integer("max_results", 0) or USUAL_LOGGED
    if not 0 < limit <= MOST_LOGGED:
        raise mistyped("max_results", ask.value("max_results"))
    query = LoggedModelQuery(
        experiments=experiment_ids(ask),
        filter=ask.text("filter"),
        datasets=datasets,
        order_by=[model_order(one) for one in ask.items("order_by")],
        limit=limit,
        token=token_of(ask),
    )
    rows, token = search_logged_models(ask.actor, ask.project_id, query)
    return paged("models", told_logged(rows), token)


def model_order(item: dict[str, Any]) -> ModelOrder:
    name, digest = member("order_by", item, "dataset_name"), member("order_by", item, "dataset_digest")
    upwards = item.get("ascending")
    if upwards not in (None, True, False):
        raise mistyped("order_by", item)
    return ModelOrder(member("order_by", item, "field_name"), upwards is False, Dataset(name, digest))


def told_logged(rows: Sequence[LoggedModel]) -> list[dict[str, Any]]:
    """Models whole; three queries, however many they are."""
    ids = [row.pk for row in rows]
    params, tags, metrics = defaultdict(list), defaultdict(list), defaultdict(list)
    columns = ("model_id", "key", "value")
    for key, *pair in LoggedModelParam.objects.filter(model__in=ids).order_by("key").values_list(*columns):
        params[key].append(pair)
    for key, *pair in LoggedModelTag.objects.filter(model__in=ids).order_by("pk").values_list(*columns):
        tags[key].append(pair)
    for one in LoggedModelMetric.objects.filter(model__in=ids).order_by("key", "pk"):
        metrics[one.model_id].append(one)
    return [logged_models.shape(row, params=params[row.pk], tags=tags[row.pk], metrics=metrics[row.pk]) for row in rows]


def paged(name: str, told: list[dict[str, Any]], token: str) -> dict[str, Any]:
    answer: dict[str, Any] = {name: told} if told else {}
    return answer | ({"next_page_token": token} if token else {})


# -- the registry ---------------------------------------------------------------------------------------------------
def models(ask: Ask) -> dict[str, Any]:
    limit = ask.integer("max_results", USUAL_MODELS)
    if limit > MOST_MODELS:
        raise mistyped("max_results", ask.value("max_results"))
    if limit < 1:
        raise wrong(f"Invalid value for max_results. It must be a positive integer, but got {limit}")
    rows, token = search_models(ask.actor, ask.project_id, registry_query(ask, limit))
    return paged("registered_models", told_models(rows), token)


def search_model_versions(ask: Ask) -> dict[str, Any]:
    limit = ask.integer("max_results", USUAL_VERSIONS)
    if limit > MOST_VERSIONS:
        raise mistyped("max_results", ask.value("max_results"))
    if limit < 1:
        raise wrong(f"Invalid value for max_results. It must be a positive integer, but got {limit}")
    rows, token = search_versions(ask.actor, ask.project_id, registry_query(ask, limit))
    return paged("model_versions", model_versions.all_told(rows), token)


def registry_query(ask: Ask, limit: int) -> RegistryQuery:
    return RegistryQuery(limit=limit, filter=ask.text("filter"), order_by=ask.texts("order_by"), token=token_of(ask))


def told_models(rows: Sequence[Model]) -> list[dict[str, Any]]:
    """Models with the newest version of each of their stages; five queries, however many they are."""
    ids = [row.pk for row in rows]
    newest, tags, aliases = defaultdict(list), defaultdict(list), defaultdict(list)
    wanted = newest_of(ids)
    for version, told in zip(wanted, model_versions.all_told(wanted), strict=True):
        newest[version.model_id].append(told)
    columns = ("model_id", "key", "value")
    for key, *pair in ModelTag.objects.filter(model__in=ids).order_by("pk").values_list(*columns):
        tags[key].append(pair)
    names = Alias.objects.filter(model__in=ids).order_by("name")
    for key, *pair in names.values_list("model_id", "name", "version__number"):
        aliases[key].append(pair)
    return [
        registered_models.shape(row, versions=newest[row.pk], tags=tags[row.pk], aliases=aliases[row.pk])
        for row in rows
    ]
