"""Rows as MLflow's JSON. Times are milliseconds since 1970, ids are texts, and what is empty is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from sys import float_info
from typing import Any

from apps.ml.experiments.filters.sql import EPOCH, MILLISECOND
from apps.ml.experiments.models import Experiment
from apps.ml.experiments.states import RunState

ACTIVE, DELETED = "active", "deleted"
WORKSPACE = "default"  # the only one: a project takes its place


def milliseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - EPOCH) // MILLISECOND  # as searches count them


def stage(deleted_at: datetime | None) -> str:
    return ACTIVE if deleted_at is None else DELETED


def location(number: int, given: str) -> str:
    """Where the files of an experiment stand, as its clients are told."""
    return given or f"mlflow-artifacts:/{number}"


def tags(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs]


def experiment(row: Experiment, pairs: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """`pairs`: its tags."""
    told: dict[str, Any] = {
        "experiment_id": str(row.number),
        "name": row.name,
        "artifact_location": location(row.number, row.artifact_location),
        "lifecycle_stage": stage(row.deleted_at),
        "creation_time": milliseconds(row.created_at),
        "last_update_time": milliseconds(row.updated_at),
        "workspace": WORKSPACE,
    }
    if found := tags(pairs):
        told["tags"] = found
    return told


# -- runs -----------------------------------------------------------------------------------------------------------
STATUS = {
    RunState.SCHEDULED: "SCHEDULED",
    RunState.RUNNING: "RUNNING",
    RunState.FINISHED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.KILLED: "KILLED",
}
# The columns that `run_info` needs, in its order.
OWN = (
    "id",
    "name",
    "state",
    "started_at",
    "ended_at",
    "deleted_at",
    "client_user",
    "created_by",
    "job_id",
)


def number(value: float, is_nan: bool = False) -> float | str:
    """A value of a metric: NaN is a text in JSON, and the infinities are the largest numbers, as in MLflow."""
    if is_nan or math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else math.copysign(float_info.max, value)


def metric(key: str, value: float, is_nan: bool, at: datetime, step: int) -> dict[str, Any]:
    return {"key": key, "value": number(value, is_nan), "timestamp": milliseconds(at), "step": step}


def artifact_uri(experiment: int, given: str, run_id: str) -> str:
    return f"{location(experiment, given)}/{run_id}/artifacts"


def run_info(row: Sequence[Any]) -> dict[str, Any]:
    """`row`: the columns OWN of a run, number and artifact location of its experiment."""
    run_id, name, state, started_at, ended_at, deleted_at, client_user, created_by, job_id, experiment, given = row
    told = {
        "run_uuid": run_id,
        "experiment_id": str(experiment),
        "run_name": name,
        "user_id": client_user if job_id is None else created_by,
        "status": STATUS[state],
        "start_time": milliseconds(started_at),
        "artifact_uri": artifact_uri(experiment, given, run_id),
        "lifecycle_stage": stage(deleted_at),
        "run_id": run_id,
    }
    if ended_at is not None:
        told["end_time"] = milliseconds(ended_at)
    return told
