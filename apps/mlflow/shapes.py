"""Rows as MLflow's JSON. Times are milliseconds since 1970, ids are texts, and what is empty is left out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from apps.experiments.models import Experiment

ACTIVE, DELETED = "active", "deleted"
WORKSPACE = "default"  # the only one: a project takes its place


def milliseconds(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


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
