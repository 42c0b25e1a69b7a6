"""Every address of MLflow's protocol that the plane knows, with the function that answers and the action it takes.

A literal table, looked up exactly; a few addresses with an id in them follow as patterns. The action is asked of the
policy before the function runs; what writes goes through a service, which asks again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponseBase

from apps.mlflow import experiments, metrics, runs, search, server
from apps.mlflow.asking import Ask

API, AJAX, V3 = "api/2.0/mlflow/", "ajax-api/2.0/mlflow/", "api/3.0/mlflow/"
VIEW, TRACK = "run.view", "run.track"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a call, that gives what is sent as JSON (or a response), and its action; None: no token needed."""

    function: Callable[..., Any]
    action: str | None


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
    ("POST", "runs/log-inputs"): Call(runs.log_inputs, TRACK),
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
    ("GET", f"{V3}server-info"): Call(server.info, None),
    ("GET", "version"): Call(server.version, None),
    ("GET", "health"): Call(server.health, None),
}
# Addresses with a name in them: (method, what follows API or AJAX), tried in this order.
PATTERNS: list[tuple[str, re.Pattern[str], Call]] = []
# Whole trees of addresses, whose functions read and write bodies of any size: (prefix, function).
STREAMS: list[tuple[str, Stream]] = []


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
