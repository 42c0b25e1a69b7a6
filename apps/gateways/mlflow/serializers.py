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


def to_milliseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - EPOCH) // MILLISECOND  # as searches count them


def get_lifecycle_stage(deleted_at: datetime | None) -> str:
    return ACTIVE if deleted_at is None else DELETED


def get_artifact_location(number: int, artifact_location: str) -> str:
    """Where the files of an experiment stand, as its clients are told."""
    return artifact_location or f"mlflow-artifacts:/{number}"


def serialize_tags(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs]


def serialize_experiment(row: Experiment, pairs: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """`pairs`: its tags."""
    payload: dict[str, Any] = {
        "experiment_id": str(row.number),
        "name": row.name,
        "artifact_location": get_artifact_location(row.number, row.artifact_location),
        "lifecycle_stage": get_lifecycle_stage(row.deleted_at),
        "creation_time": to_milliseconds(row.created_at),
        "last_update_time": to_milliseconds(row.updated_at),
        "workspace": WORKSPACE,
    }
    if tag_rows := serialize_tags(pairs):
        payload["tags"] = tag_rows
    return payload


# -- runs -----------------------------------------------------------------------------------------------------------
STATUS = {
    RunState.SCHEDULED: "SCHEDULED",
    RunState.RUNNING: "RUNNING",
    RunState.FINISHED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.KILLED: "KILLED",
}
# The columns that `run_info` needs, in its order.
RUN_COLUMNS = (
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


def serialize_number(value: float, is_nan: bool = False) -> float | str:
    """A value of a metric: NaN is a text in JSON, and the infinities are the largest numbers, as in MLflow."""
    if is_nan or math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else math.copysign(float_info.max, value)


def serialize_metric(key: str, value: float, is_nan: bool, at: datetime, step: int) -> dict[str, Any]:
    return {"key": key, "value": serialize_number(value, is_nan), "timestamp": to_milliseconds(at), "step": step}


def build_artifact_uri(experiment: int, artifact_location: str, run_id: str) -> str:
    return f"{get_artifact_location(experiment, artifact_location)}/{run_id}/artifacts"


def serialize_run_info(row: Sequence[Any]) -> dict[str, Any]:
    """`row`: the columns OWN of a run, number and artifact location of its experiment."""
    (
        run_id,
        name,
        state,
        started_at,
        ended_at,
        deleted_at,
        client_user,
        created_by,
        job_id,
        experiment,
        artifact_location,
    ) = row
    payload = {
        "run_uuid": run_id,
        "experiment_id": str(experiment),
        "run_name": name,
        "user_id": client_user if job_id is None else created_by,
        "status": STATUS[state],
        "start_time": to_milliseconds(started_at),
        "artifact_uri": build_artifact_uri(experiment, artifact_location, run_id),
        "lifecycle_stage": get_lifecycle_stage(deleted_at),
        "run_id": run_id,
    }
    if ended_at is not None:
        payload["end_time"] = to_milliseconds(ended_at)
    return payload
