"""Search runs and experiments: MLflow's parameters validated, rows serialized as its JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.http import HttpResponse

from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.experiments import ensure_default_listed
from apps.gateways.mlflow.request import MlflowCall, mistyped_parameter_error
from apps.gateways.mlflow.responses import as_json, invalid_parameter_error
from apps.gateways.mlflow.run_json_sql import iter_run_json
from apps.ml.experiments.models import ExperimentTag
from apps.ml.experiments.search.experiments import ExperimentQuery, search_experiments
from apps.ml.experiments.search.runs import VIEWS, RunQuery, search_runs

MAX_RUNS = 50_000
MAX_EXPERIMENTS = 50_000
DEFAULT_LIMIT = 1000


def find_runs(call: MlflowCall) -> HttpResponse:
    query = RunQuery(
        experiments=parse_experiment_ids(call),
        filter=call.get_text("filter"),
        order_by=call.get_texts("order_by"),
        view=parse_view(call, "run_view_type"),
        limit=parse_run_limit(call),
        token=get_page_token(call),
    )
    page = search_runs(call.actor, call.project_id, query)
    runs = ",".join(iter_run_json(page.rows))
    parts = [f'"runs":[{runs}]'] if runs else []
    if page.token:
        parts.append(f'"next_page_token":{as_json(page.token)}')
    return HttpResponse(f"{{{','.join(parts)}}}", content_type="application/json")


def find_experiments(call: MlflowCall) -> dict[str, Any]:
    limit = call.get_integer("max_results", DEFAULT_LIMIT if call.by_query else 0)
    require_positive(limit)
    if limit > MAX_EXPERIMENTS:
        raise invalid_parameter_error(
            f"Invalid value {limit} for parameter 'max_results' supplied. It must be at most {MAX_EXPERIMENTS}"
        )
    query = ExperimentQuery(
        filter=call.get_text("filter"),
        order_by=call.get_texts("order_by"),
        view=parse_view(call, "view_type"),
        limit=limit,
        token=get_page_token(call),
    )
    if not query.token:
        ensure_default_listed(call)
    rows, token = search_experiments(call.actor, call.project_id, query)
    tags: dict[int, list[tuple[str, str]]] = defaultdict(list)
    tag_rows = ExperimentTag.objects.filter(experiment__in=[row.pk for row in rows]).order_by("id")
    for experiment, key, value in tag_rows.values_list("experiment_id", "key", "value"):
        tags[experiment].append((key, value))
    answer: dict[str, Any] = (
        {"experiments": [serializers.serialize_experiment(row, tags[row.pk]) for row in rows]} if rows else {}
    )
    return answer | ({"next_page_token": token} if token else {})


# -- parameters -----------------------------------------------------------------------------------------------------
def parse_experiment_ids(call: MlflowCall) -> list[str]:
    """Texts, or numbers as some clients write them."""
    ids = call.parameters.get("experiment_ids")
    if isinstance(ids, list) and all(type(each) in (str, int) for each in ids):
        return [str(each) for each in ids]
    return call.get_texts("experiment_ids")


def parse_view(call: MlflowCall, name: str) -> str:
    """What is no view is taken for the usual one, as MLflow does."""
    value = call.get_value(name)
    return value if isinstance(value, str) and value in VIEWS else "ACTIVE_ONLY"


def get_page_token(call: MlflowCall) -> str:
    return call.get_text("page_token") if isinstance(call.get_value("page_token"), str) else ""


def parse_run_limit(call: MlflowCall) -> int:
    limit = call.get_integer("max_results", DEFAULT_LIMIT)
    if limit > MAX_RUNS:
        raise mistyped_parameter_error("max_results", call.get_value("max_results"))
    return require_positive(limit)


def require_positive(limit: int) -> int:
    if limit < 1:
        raise invalid_parameter_error(
            f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer"
        )
    return limit
