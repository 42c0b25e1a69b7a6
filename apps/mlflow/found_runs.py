"""Runs whole, as searches answer them: a constant number of queries for a thousand runs, and no model instances."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from apps.experiments.filters.runs import RUN_NAME_TAG
from apps.experiments.filters.sql import Sql, marks, milliseconds, on_postgres, rows_of
from apps.experiments.models import RunModel
from apps.experiments.searching.runs import RunRow
from apps.mlflow import shapes

TOGETHER = 1000  # runs of which the parts are read at once
Parts = dict[str, list[dict[str, Any]]]


def told_runs(rows: Sequence[RunRow]) -> Iterator[dict[str, Any]]:
    """Each run as MLflow's JSON, in the order given."""
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        ids = [row.id for row in some]
        metrics, params, tags = (
            metrics_of(ids),
            pairs_of("experiments_runparam", ids),
            pairs_of("experiments_runtag", ids),
        )
        datasets, (used, made) = datasets_of(ids), models_of(ids)
        for row in some:
            key = row.id
            tags[key].append({"key": RUN_NAME_TAG, "value": row.name})
            data = {"metrics": metrics.get(key), "params": params.get(key), "tags": tags[key]}
            inputs = {"dataset_inputs": datasets.get(key), "model_inputs": used.get(key)}
            yield {
                "info": info_of(row),
                "data": {name: part for name, part in data.items() if part},
                "inputs": {name: part for name, part in inputs.items() if part},
                "outputs": {"model_outputs": made[key]} if key in made else {},
            }


def info_of(row: RunRow) -> dict[str, Any]:
    place = row.experiment
    told = {
        "run_uuid": row.id,
        "experiment_id": str(place.number),
        "run_name": row.name,
        "user_id": row.client_user,
        "status": row.state.upper(),
        "start_time": milliseconds(row.started_at),
        "end_time": milliseconds(row.ended_at),
        "artifact_uri": f"{shapes.location(place.number, place.artifact_location)}/{row.id}/artifacts",
        "lifecycle_stage": shapes.ACTIVE if row.deleted_at is None else shapes.DELETED,
        "run_id": row.id,
    }
    if row.ended_at is None:
        del told["end_time"]
    return told


def of_runs(columns: str, table: str, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """Rows of these runs in the order in which they were written."""
    if on_postgres():
        return rows_of(Sql(f"SELECT {columns} FROM {table} WHERE run_id = ANY(%s) ORDER BY id", (list(ids),)))
    return rows_of(Sql(f"SELECT {columns} FROM {table} WHERE run_id IN ({marks(ids)}) ORDER BY id", tuple(ids)))


def pairs_of(table: str, ids: Sequence[str]) -> Parts:
    found: Parts = defaultdict(list)
    for run, key, value in of_runs("run_id, key, value", table, ids):
        found[run].append({"key": key, "value": value})
    return found


def metrics_of(ids: Sequence[str]) -> Parts:
    found: Parts = defaultdict(list)
    for run, key, value, is_nan, at, step in of_runs("run_id, key, value, is_nan, at, step", "experiments_metric", ids):
        number = "NaN" if is_nan else value
        found[run].append({"key": key, "value": number, "timestamp": milliseconds(at), "step": step})
    return found


def datasets_of(ids: Sequence[str]) -> Parts:
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    found: Parts = defaultdict(list)
    columns = f"run_id, tags, {', '.join(names)}"
    for run, tags, *values in of_runs(columns, "experiments_rundataset", ids):
        dataset = {name: value for name, value in zip(names, values, strict=True) if value}
        pairs = tags if isinstance(tags, list) else json.loads(tags)
        found[run].append({"tags": pairs, "dataset": dataset} if pairs else {"dataset": dataset})
    return found


def models_of(ids: Sequence[str]) -> tuple[Parts, Parts]:
    """The logged models that the runs read, and those that they made."""
    used: Parts = defaultdict(list)
    made: Parts = defaultdict(list)
    for run, model, direction, step in of_runs("run_id, model_id, direction, step", "experiments_runmodel", ids):
        if direction == RunModel.Direction.INPUT:
            used[run].append({"model_id": model})
        else:
            made[run].append({"model_id": model, "step": step})
    return used, made
