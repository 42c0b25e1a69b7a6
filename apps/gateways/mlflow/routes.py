"""Routes of the MLflow protocol: the function that answers each address, and the permission it requires.

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
from apps.gateways.mlflow.request import MlflowCall

API, AJAX, V3 = "api/2.0/mlflow/", "ajax-api/2.0/mlflow/", "api/3.0/mlflow/"
VIEW, TRACK = "run.view", "run.track"
VIEW_MODEL, ANNOTATE_MODEL, SET_ALIAS = "model.view", "model.annotate", "model.set_alias"
INPUTS_BYTES = 24 * 2**20  # a dataset's profile may have 16,777,215 characters, as in MLflow


@dataclass(frozen=True, slots=True)
class Route:
    """A function of a call, that gives what is sent as JSON (or a response), and its action; None: no token needed."""

    function: Callable[..., Any]
    action: str | None
    body_bytes: int = 0  # that a body may have where that is more than BODY_LIMIT_BYTES


Stream = Callable[[MlflowCall, str], HttpResponseBase]  # (call, path): it reads and writes bodies by itself

ROUTES: dict[tuple[str, str], Route] = {
    # experiments
    ("POST", "experiments/create"): Route(experiments.create, TRACK),
    ("GET", "experiments/get"): Route(experiments.get, VIEW),
    ("GET", "experiments/get-by-name"): Route(experiments.get_by_name, VIEW),
    ("POST", "experiments/search"): Route(search.find_experiments, VIEW),
    ("GET", "experiments/search"): Route(search.find_experiments, VIEW),
    ("POST", "experiments/update"): Route(experiments.update, TRACK),
    ("POST", "experiments/delete"): Route(experiments.delete, TRACK),
    ("POST", "experiments/restore"): Route(experiments.restore, TRACK),
    ("POST", "experiments/set-experiment-tag"): Route(experiments.set_tag, TRACK),
    ("POST", "experiments/delete-experiment-tag"): Route(experiments.delete_tag, TRACK),
    # files and logged models; more of them below
    ("GET", "artifacts/list"): Route(files.list_run_files, VIEW),
    ("POST", "logged-models/search"): Route(search_models.find_logged_models, VIEW),
    ("POST", "logged-models"): Route(logged_models.create, TRACK),
    # registered models
    ("POST", "registered-models/create"): Route(registered_models.create, "model.create"),
    ("GET", "registered-models/get"): Route(registered_models.get, VIEW_MODEL),
    ("PATCH", "registered-models/update"): Route(registered_models.update, ANNOTATE_MODEL),
    ("POST", "registered-models/rename"): Route(registered_models.rename, ANNOTATE_MODEL),
    ("DELETE", "registered-models/delete"): Route(registered_models.delete, "model.delete"),
    ("POST", "registered-models/set-tag"): Route(registered_models.set_tag, ANNOTATE_MODEL),
    ("DELETE", "registered-models/delete-tag"): Route(registered_models.delete_tag, ANNOTATE_MODEL),
    ("POST", "registered-models/alias"): Route(registered_models.set_alias, SET_ALIAS),
    ("DELETE", "registered-models/alias"): Route(registered_models.delete_alias, SET_ALIAS),
    ("GET", "registered-models/alias"): Route(registered_models.get_alias, VIEW_MODEL),
    ("GET", "registered-models/search"): Route(search_models.find_registered_models, VIEW_MODEL),
    ("POST", "registered-models/get-latest-versions"): Route(registered_models.get_latest_versions, VIEW_MODEL),
    ("GET", "registered-models/get-latest-versions"): Route(registered_models.get_latest_versions, VIEW_MODEL),
    # their versions
    ("POST", "model-versions/create"): Route(model_versions.create, "model.record_version"),
    ("GET", "model-versions/search"): Route(search_models.find_model_versions, VIEW_MODEL),
    ("GET", "model-versions/get"): Route(model_versions.get, VIEW_MODEL),
    ("PATCH", "model-versions/update"): Route(model_versions.update, ANNOTATE_MODEL),
    ("DELETE", "model-versions/delete"): Route(model_versions.delete, "model.delete"),
    ("POST", "model-versions/transition-stage"): Route(model_versions.transition_stage, ANNOTATE_MODEL),
    ("POST", "model-versions/set-tag"): Route(model_versions.set_tag, ANNOTATE_MODEL),
    ("DELETE", "model-versions/delete-tag"): Route(model_versions.delete_tag, ANNOTATE_MODEL),
    ("GET", "model-versions/get-download-uri"): Route(model_versions.get_download_uri, VIEW_MODEL),
    # runs
    ("POST", "runs/create"): Route(runs.create, TRACK),
    ("GET", "runs/get"): Route(runs.get, VIEW),
    ("POST", "runs/search"): Route(search.find_runs, VIEW),
    ("POST", "runs/update"): Route(runs.update, TRACK),
    ("POST", "runs/delete"): Route(runs.delete, TRACK),
    ("POST", "runs/restore"): Route(runs.restore, TRACK),
    ("POST", "runs/log-metric"): Route(runs.log_metric, TRACK),
    ("POST", "runs/log-parameter"): Route(runs.log_parameter, TRACK),
    ("POST", "runs/log-batch"): Route(runs.log_batch, TRACK),
    ("POST", "runs/set-tag"): Route(runs.set_tag, TRACK),
    ("POST", "runs/delete-tag"): Route(runs.delete_tag, TRACK),
    ("POST", "runs/log-inputs"): Route(runs.log_inputs, TRACK, body_bytes=INPUTS_BYTES),
    ("POST", "runs/outputs"): Route(runs.log_outputs, TRACK),
    ("POST", "runs/log-model"): Route(runs.log_model, TRACK),
    # metrics
    ("GET", "metrics/get-history"): Route(metrics.get_history, VIEW),
    ("GET", "metrics/get-history-bulk-interval"): Route(metrics.get_history_bulk_interval, VIEW),
}
# The reference answers every call under both prefixes: its own pages ask below the second.
ROUTES_BY_ADDRESS: dict[tuple[str, str], Route] = {
    (method, prefix + path): call for (method, path), call in ROUTES.items() for prefix in (API, AJAX)
} | {
    ("GET", f"{AJAX}metrics/get-history-bulk"): Route(metrics.get_history_bulk, VIEW),
    ("GET", f"{V3}server-info"): Route(server_info.get_server_info, None),
    ("GET", "version"): Route(server_info.get_protocol_version, None),
    ("GET", "health"): Route(server_info.check_health, None),
}
MODEL = r"logged-models/(?P<model_id>[^/]+)"
# Addresses with a name in them: (method, what follows API or AJAX), tried in this order.
PATTERNS: list[tuple[str, re.Pattern[str], Route]] = [
    ("GET", re.compile(MODEL), Route(logged_models.get, VIEW)),
    ("PATCH", re.compile(MODEL), Route(logged_models.finish, TRACK)),
    ("DELETE", re.compile(MODEL), Route(logged_models.delete, TRACK)),
    ("POST", re.compile(rf"{MODEL}/params"), Route(logged_models.add_params, TRACK)),
    ("PATCH", re.compile(rf"{MODEL}/tags"), Route(logged_models.set_tags, TRACK)),
    ("DELETE", re.compile(rf"{MODEL}/tags/(?P<key>.+)"), Route(logged_models.delete_tag, TRACK)),
    ("GET", re.compile(rf"{MODEL}/artifacts/directories"), Route(logged_models.list_files, VIEW)),
]
ARTIFACTS = ("api/2.0/mlflow-artifacts", "ajax-api/2.0/mlflow-artifacts")
# Whole trees of addresses, whose functions read and write bodies of any size: (prefix, function).
STREAMS: list[tuple[str, Stream]] = [
    (f"{prefix}/{rest}", function)
    for prefix in ARTIFACTS
    for rest, function in (
        ("artifacts", files.handle_file_request),
        ("presigned/", files.presign_download),
        ("mpu/", multipart.handle_multipart_request),
    )
] + [("get-artifact", files.get_artifact)]
# Addresses that the plane gave out with a ticket, which stands for the token.
TICKETED: list[tuple[str, Callable[[HttpRequest, str], HttpResponseBase]]] = [
    (f"{prefix}/{rest}", function)
    for prefix in ARTIFACTS
    for rest, function in (("signed/", files.send_signed_file), ("parts/", multipart.receive_part))
]


def match_pattern(method: str, path: str) -> tuple[Route | None, dict[str, str]]:
    """The call of an address with names in it, and these."""
    prefix = next((candidate for candidate in (API, AJAX) if path.startswith(candidate)), None)
    if prefix is None:
        return None, {}
    for verb, pattern, route in PATTERNS:
        if verb == method and (match := pattern.fullmatch(path, len(prefix))):
            return route, match.groupdict()
    return None, {}


def list_methods(path: str) -> list[str]:
    """The methods that this address has; empty for one that does not exist."""
    return sorted(method for method, route_path in ROUTES_BY_ADDRESS if route_path == path) or sorted(
        {method for method, _, _ in PATTERNS if match_pattern(method, path)[0]}
    )
