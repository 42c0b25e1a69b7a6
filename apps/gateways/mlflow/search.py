"""The searches of runs and of experiments: MLflow's parameters checked, our rows told in its JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.http import HttpResponse

from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.experiments import ensure_default_listed
from apps.gateways.mlflow.request import Ask, mistyped
from apps.gateways.mlflow.responses import as_json, wrong
from apps.gateways.mlflow.run_json_sql import told_runs
from apps.ml.experiments.models import ExperimentTag
from apps.ml.experiments.search.experiments import ExperimentQuery, search_experiments
from apps.ml.experiments.search.runs import VIEWS, RunQuery, search_runs

MOST_RUNS = 50_000
MOST_EXPERIMENTS = 50_000
USUAL = 1000


def runs(ask: Ask) -> HttpResponse:
    query = RunQuery(
        experiments=experiment_ids(ask),
        filter=ask.text("filter"),
        order_by=ask.texts("order_by"),
        view=view_of(ask, "run_view_type"),
        limit=run_limit(ask),
        token=token_of(ask),
    )
    found = search_runs(ask.actor, ask.project_id, query)
    runs = ",".join(told_runs(found.rows))
    parts = [f'"runs":[{runs}]'] if runs else []
    if found.token:
        parts.append(f'"next_page_token":{as_json(found.token)}')
    return HttpResponse(f"{{{','.join(parts)}}}", content_type="application/json")


def experiments(ask: Ask) -> dict[str, Any]:
    limit = ask.integer("max_results", USUAL if ask.by_query else 0)
    positive(limit)
    if limit > MOST_EXPERIMENTS:
        raise wrong(
            f"Invalid value {limit} for parameter 'max_results' supplied. It must be at most {MOST_EXPERIMENTS}"
        )
    query = ExperimentQuery(
        filter=ask.text("filter"),
        order_by=ask.texts("order_by"),
        view=view_of(ask, "view_type"),
        limit=limit,
        token=token_of(ask),
    )
    if not query.token:
        ensure_default_listed(ask)
    rows, token = search_experiments(ask.actor, ask.project_id, query)
    tags: dict[int, list[tuple[str, str]]] = defaultdict(list)
    wanted = ExperimentTag.objects.filter(experiment__in=[row.pk for row in rows]).order_by("id")
    for experiment, key, value in wanted.values_list("experiment_id", "key", "value"):
        tags[experiment].append((key, value))
    answer: dict[str, Any] = (
        {"experiments": [serializers.experiment(row, tags[row.pk]) for row in rows]} if rows else {}
    )
    return answer | ({"next_page_token": token} if token else {})


# -- parameters -----------------------------------------------------------------------------------------------------
def experiment_ids(ask: Ask) -> list[str]:
    """Texts, or numbers as some clients write them."""
    given = ask.given.get("experiment_ids")
    if isinstance(given, list) and all(type(each) in (str, int) for each in given):
        return [str(each) for each in given]
    return ask.texts("experiment_ids")


def view_of(ask: Ask, name: str) -> str:
    """What is no view is taken for the usual one, as MLflow does."""
    value = ask.value(name)
    return value if isinstance(value, str) and value in VIEWS else "ACTIVE_ONLY"


def token_of(ask: Ask) -> str:
    return ask.text("page_token") if isinstance(ask.value("page_token"), str) else ""


def run_limit(ask: Ask) -> int:
    limit = ask.integer("max_results", USUAL)
    if limit > MOST_RUNS:
        raise mistyped("max_results", ask.value("max_results"))
    return positive(limit)


def positive(limit: int) -> int:
    if limit < 1:
        raise wrong(f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer")
    return limit
