"""Every address of MLflow's protocol that the plane knows, with the function that answers and the action it takes.

A literal table, looked up exactly; a few addresses with an id in them follow as patterns. The action is asked of the
policy before the function runs; what writes goes through a service, which asks again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from apps.gateways.mlflow import (
    experiments,
    files,
    logged_models,
    metrics,
    model_versions,
    multipart,
    registered_models,
    runs,
    search,
    search_models,
    server_info,
)
from apps.gateways.mlflow.request import Ask

API, AJAX, V3 = "api/2.0/mlflow/", "ajax-api/2.0/mlflow/", "api/3.0/mlflow/"
VIEW, TRACK = "run.view", "run.track"
SEE, SAY, ALIAS = "model.view", "model.annotate", "model.set_alias"
INPUTS_BYTES = 24 * 2**20  # a dataset's profile may have 16,777,215 characters, as in MLflow


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a call, that gives what is sent as JSON (or a response), and its action; None: no token needed."""

    function: Callable[..., Any]
    action: str | None
    body_bytes: int = 0  # that a body may have where that is more than BODY_LIMIT_BYTES


Stream = Callable[[Ask, str], HttpResponseBase]  # (call, path): it reads and writes bodies by itself

CALLS: dict[tuple[str, str], Call] = {
    # experiments
    ("POST", "experiments/create"): Call(experiments.create, TRACK),
    ("GET", "experiments/get"): Call(experiments.get, VIEW),
    ("GET", "experiments/get-by-name"): Call(experiments.get_by_name, VIEW),
    ("POST", "experiments/search"): Call(search.experiments, VIEW),
    ("GET", "experiments/search"): Call(search.experiments, VIEW),
    ("POST", "experiments/update"): Call(experiments.update, TRACK),
    ("POST", "experiments/delete"): Call(experiments.delete, TRACK),
    ("POST", "experiments/restore"): Call(experiments.restore, TRACK),
    ("POST", "experiments/set-experiment-tag"): Call(experiments.set_tag, TRACK),
    ("POST", "experiments/delete-experiment-tag"): Call(experiments.delete_tag, TRACK),
    # files and logged models; more of them below
    ("GET", "artifacts/list"): Call(files.list_of_run, VIEW),
    ("POST", "logged-models/search"): Call(search_models.logged, VIEW),
    ("POST", "logged-models"): Call(logged_models.create, TRACK),
    # registered models
    ("POST", "registered-models/create"): Call(registered_models.create, "model.create"),
    ("GET", "registered-models/get"): Call(registered_models.get, SEE),
    ("PATCH", "registered-models/update"): Call(registered_models.update, SAY),
    ("POST", "registered-models/rename"): Call(registered_models.rename, SAY),
    ("DELETE", "registered-models/delete"): Call(registered_models.delete, "model.delete"),
    ("POST", "registered-models/set-tag"): Call(registered_models.set_tag, SAY),
    ("DELETE", "registered-models/delete-tag"): Call(registered_models.delete_tag, SAY),
    ("POST", "registered-models/alias"): Call(registered_models.set_alias, ALIAS),
    ("DELETE", "registered-models/alias"): Call(registered_models.delete_alias, ALIAS),
    ("GET", "registered-models/alias"): Call(registered_models.get_alias, SEE),
    ("GET", "registered-models/search"): Call(search_models.models, SEE),
    ("POST", "registered-models/get-latest-versions"): Call(registered_models.latest_versions, SEE),
    ("GET", "registered-models/get-latest-versions"): Call(registered_models.latest_versions, SEE),
    # their versions
    ("POST", "model-versions/create"): Call(model_versions.create, "model.record_version"),
    ("GET", "model-versions/search"): Call(search_models.search_model_versions, SEE),
    ("GET", "model-versions/get"): Call(model_versions.get, SEE),
    ("PATCH", "model-versions/update"): Call(model_versions.update, SAY),
    ("DELETE", "model-versions/delete"): Call(model_versions.delete, "model.delete"),
    ("POST", "model-versions/transition-stage"): Call(model_versions.transition_stage, SAY),
    ("POST", "model-versions/set-tag"): Call(model_versions.set_tag, SAY),
    ("DELETE", "model-versions/delete-tag"): Call(model_versions.delete_tag, SAY),
    ("GET", "model-versions/get-download-uri"): Call(model_versions.download_uri, SEE),
    # runs
    ("POST", "runs/create"): Call(runs.create, TRACK),
    ("GET", "runs/get"): Call(runs.get, VIEW),
    ("POST", "runs/search"): Call(search.runs, VIEW),
    ("POST", "runs/update"): Call(runs.update, TRACK),
    ("POST", "runs/delete"): Call(runs.delete, TRACK),
    ("POST", "runs/restore"): Call(runs.restore, TRACK),
    ("POST", "runs/log-metric"): Call(runs.log_metric, TRACK),
    ("POST", "runs/log-parameter"): Call(runs.log_parameter, TRACK),
    ("POST", "runs/log-batch"): Call(runs.log_batch, TRACK),
    ("POST", "runs/set-tag"): Call(runs.set_tag, TRACK),
    ("POST", "runs/delete-tag"): Call(runs.delete_tag, TRACK),
    ("POST", "runs/log-inputs"): Call(runs.log_inputs, TRACK, body_bytes=INPUTS_BYTES),
    ("POST", "runs/outputs"): Call(runs.log_outputs, TRACK),
    ("POST", "runs/log-model"): Call(runs.log_model, TRACK),
    # metrics
    ("GET", "metrics/get-history"): Call(metrics.history, VIEW),
    ("GET", "metrics/get-history-bulk-interval"): Call(metrics.history_bulk_interval, VIEW),
}
# The reference answers every call under both prefixes: its own pages ask below the second.
TABLE: dict[tuple[str, str], Call] = {
    (method, prefix + path): call for (method, path), call in CALLS.items() for prefix in (API, AJAX)
} | {
    ("GET", f"{AJAX}metrics/get-history-bulk"): Call(metrics.history_bulk, VIEW),
    ("GET", f"{V3}server-info"): Call(server_info.info, None),
    ("GET", "version"): Call(server_info.version, None),
    ("GET", "health"): Call(server_info.health, None),
}
MODEL = r"logged-models/(?P<model_id>[^/]+)"
# Addresses with a name in them: (method, what follows API or AJAX), tried in this order.
PATTERNS: list[tuple[str, re.Pattern[str], Call]] = [
    ("GET", re.compile(MODEL), Call(logged_models.get, VIEW)),
    ("PATCH", re.compile(MODEL), Call(logged_models.finish, TRACK)),
    ("DELETE", re.compile(MODEL), Call(logged_models.delete, TRACK)),
    ("POST", re.compile(rf"{MODEL}/params"), Call(logged_models.add_params, TRACK)),
    ("PATCH", re.compile(rf"{MODEL}/tags"), Call(logged_models.set_tags, TRACK)),
    ("DELETE", re.compile(rf"{MODEL}/tags/(?P<key>.+)"), Call(logged_models.delete_tag, TRACK)),
    ("GET", re.compile(rf"{MODEL}/artifacts/directories"), Call(logged_models.list_files, VIEW)),
]
ARTIFACTS = ("api/2.0/mlflow-artifacts", "ajax-api/2.0/mlflow-artifacts")
# Whole trees of addresses, whose functions read and write bodies of any size: (prefix, function).
STREAMS: list[tuple[str, Stream]] = [
    (f"{prefix}/{rest}", function)
    for prefix in ARTIFACTS
    for rest, function in (
        ("artifacts", files.files),
        ("presigned/", files.presigned),
        ("mpu/", multipart.calls),
    )
] + [("get-artifact", files.get_artifact)]
# Addresses that the plane gave out with a ticket, which stands for the token.
TICKETED: list[tuple[str, Callable[[HttpRequest, str], HttpResponseBase]]] = [
    (f"{prefix}/{rest}", function)
    for prefix in ARTIFACTS
    for rest, function in (("signed/", files.signed_file), ("parts/", multipart.part))
]


def by_pattern(method: str, path: str) -> tuple[Call | None, dict[str, str]]:
    """The call of an address with names in it, and these."""
    prefix = next((each for each in (API, AJAX) if path.startswith(each)), None)
    if prefix is None:
        return None, {}
    for verb, pattern, call in PATTERNS:
        if verb == method and (found := pattern.fullmatch(path, len(prefix))):
            return call, found.groupdict()
    return None, {}


def methods_of(path: str) -> list[str]:
    """The methods that this address has; empty for one that does not exist."""
    return sorted(method for method, known in TABLE if known == path) or sorted(
        {method for method, _, _ in PATTERNS if by_pattern(method, path)[0]}
    )
