"""Predict for a table in partitions, carried by any number of processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepseek.clean.execution import write_parquet
from deepseek.clean.steps.numbers import NO_EDGES, WindowEdges, window_edge_rounds
from deepseek.job import Report
from deepseek.models.manifest import ModelManifest, require_mlp
from deepseek.models.packages import TORCH_FORMATS
from deepseek.models.predictor import open_model
from deepseek.models.predictor_base import Predictor
from deepseek.partitions.carriers import get_values
from deepseek.partitions.nodes.job_carrier import count_workers, open_job_carrier
from deepseek.partitions.progress import PartitionProgress
from deepseek.partitions.sources import PartitionSource
from deepseek.partitions.tables import open_partitions
from deepseek.predict.batches import PredictedBatches, TableModel
from deepseek.predict.spec import PredictSpec


@dataclass(frozen=True)
class PredictTask:
    """A partition to predict for; travels to a worker. `edges`: of a forecast, the values before its first row."""

    source: PartitionSource
    partition: int
    spec: PredictSpec
    model: Path
    manifest: Path
    scratch: Path
    edges: WindowEdges = NO_EDGES


@dataclass(frozen=True)
class PredictedPart:
    """A partition with its predictions: a Parquet file under a scratch name."""

    path: Path
    rows: int
    incomplete: int


# -- in a worker ------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=1)
def _open_once(manifest_path: Path, path: Path, *, alone: bool) -> tuple[ModelManifest, Predictor]:
    """The model, verified and loaded once in each process of a run; one thread where others work beside it."""
    manifest = ModelManifest.read(manifest_path)
    predictor = open_model(manifest, path, None if alone else 1)
    if not alone and manifest.format in TORCH_FORMATS:
        import torch

        torch.set_num_threads(1)
    return manifest, predictor


def _open_predicted(task: PredictTask) -> PredictedBatches:
    manifest, predictor = _open_once(
        task.manifest, task.model, alone=task.spec.processes == 1 and not task.spec.cluster
    )
    batches = task.source.open()
    model = TableModel(predictor, manifest, batches.schema, task.edges)
    return PredictedBatches(batches, model, task.spec, task.source.first_row)


def describe_predictions(task: PredictTask) -> pa.Schema:
    """The columns of the result. Raises EngineError where the model and the table do not fit."""
    return _open_predicted(task).schema


def scan_edge(task: PredictTask) -> Any:
    """The last values of a partition, which the first forecasts of the next one need."""
    manifest = ModelManifest.read(task.manifest)
    return next(_begin_rounds(manifest)).scan(task.source.open())


def predict_partition(task: PredictTask) -> PredictedPart:
    """Write the partition with its predictions under a name of its own."""
    predicted = _open_predicted(task)
    handle, name = tempfile.mkstemp(dir=task.scratch, prefix=f"predicted-{task.partition:05}-", suffix=".parquet")
    os.close(handle)
    written = write_parquet(predicted, Path(name))
    return PredictedPart(Path(name), written.rows, predicted.incomplete)


def _begin_rounds(manifest: ModelManifest) -> Any:
    return window_edge_rounds([manifest.target], require_mlp(manifest, "predict").inputs)


# -- the coordinator --------------------------------------------------------------------------------------------------
@contextmanager
def predict_partitions(
    spec: PredictSpec, manifest: ModelManifest, inputs: Mapping[str, Path], stage: Path, report: Report
) -> Iterator[tuple[list[PredictedPart], pa.Schema]]:
    """Yield the parts of the result in the order of the rows, and its columns; their files go with the block.

    A lost process's partition is predicted again under another name. What the lost attempt wrote is not used.
    """
    _open_once.cache_clear()  # this process may have run before, with another model under the same path
    with tempfile.TemporaryDirectory(dir=stage, prefix=".scratch-") as name:
        scratch = Path(name)
        progress = PartitionProgress(report, [])
        with open_job_carrier(
            spec.processes,
            folder=scratch,
            inputs=inputs,
            report=report,
            observer=progress,
            on_cluster=spec.cluster,
        ) as carrier:
            workers = count_workers(carrier, spec.processes)
            table = open_partitions(
                inputs["table"], spec.csv, scratch, spec.partitions, workers, carrier, progress=progress
            )
            for note in table.notes:
                report.log(note, level="warning")
            tasks = [
                PredictTask(source, place, spec, inputs["model"], inputs["manifest"], scratch)
                for place, source in enumerate(table.sources)
            ]
            [schema] = get_values(carrier.run(describe_predictions, tasks[:1], lambda _: None))
            if manifest.task == "forecast":
                progress.begin_stage("scan")
                states = get_values(carrier.run(scan_edge, tasks, lambda _: None))
                _, edges = next(_begin_rounds(manifest)).merge(states, [])
                tasks = [replace(task, edges=edge) for task, edge in zip(tasks, edges, strict=True)]
            progress.begin_stage("predict")
            parts = get_values(carrier.run(predict_partition, tasks, lambda _: None))
        progress.end()
        rows = sum(part.rows for part in parts)
        report.progress(rows, rows, "rows", stage="write")
        yield parts, schema
