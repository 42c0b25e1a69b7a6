"""A run of a bundle with its points, under its own id: what it says of itself stays what the source recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.ml.experiments.models import Metric, MetricBucket, MetricPoint, Run, RunArtifact, RunParam, RunTag
from apps.ml.experiments.services.experiments import find_or_create_experiment
from apps.ml.experiments.states import ENDED
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.services import record
from apps.site.transfer.export import fields
from apps.site.transfer.export.rows import build_catalogue_error, load_row
from apps.site.transfer.loading.catalogue import IncomingCatalogue
from apps.site.transfer.loading.integrity import check_member_path, check_series

ROWS_PER_INSERT = 1000
FILE_FIELDS = ("path", "size", "media_type")
RUN_ID = re.compile(r"[0-9a-f]{32}")
Hold = Callable[[list[tuple[Any, str, str]]], dict[str, Artifact]]


def load_run(
    actor: Actor, project: Project, catalogue: IncomingCatalogue, row: dict[str, Any], hold: Hold
) -> tuple[Run, bool]:
    """The run and whether it is new. Raises Conflict where another run has its id."""
    run_id = row.get("id")
    if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
        raise build_catalogue_error("runs", "a run has no id")
    existing = Run.objects.filter(pk=run_id).first()
    if existing is not None:
        if existing.project_id == project.pk and existing.metrics_digest == row.get("metrics_digest"):
            return existing, False
        raise Conflict("Another run has the id {run}.", run=run_id, code="bundle_conflicts", field="runs")
    experiment = find_or_create_experiment(actor, project, str(row.get("experiment") or ""))
    names = [name for name in fields.RUN if name != "id"]
    run = load_row(Run, row, names, id=run_id, project=project, experiment=experiment)
    if run.state not in ENDED:
        raise build_catalogue_error("runs", f"{run.name} has not ended")
    run.save(force_insert=True)
    insert_pairs(RunParam, run, row.get("params"))
    insert_pairs(RunTag, run, row.get("tags"))
    series = catalogue.read_document(row.get("series"))
    check_series(row, series)
    insert_series(run, series)
    insert_files(run, row.get("artifacts"), hold)
    after = {"name": run.name, "experiment": experiment.name, "source": catalogue.manifest.head.source.name}
    record(actor=actor, action="run.transfer", obj=run, after=after, digests={"metrics": run.metrics_digest})
    return run, True


def insert_pairs(model: type[RunParam] | type[RunTag], run: Run, pairs: Any) -> None:
    if not isinstance(pairs, dict):
        raise build_catalogue_error("runs", "its parameters are no object")
    rows = [load_row(model, {"key": key, "value": value}, ("key", "value"), run=run) for key, value in pairs.items()]
    model.objects.bulk_create(rows, batch_size=ROWS_PER_INSERT)


def insert_files(run: Run, files: Any, hold: Hold) -> None:
    if not isinstance(files, list):
        raise build_catalogue_error("runs", "its files are no list")
    rows = []
    for each in files:
        match each:
            case [str(path), str(digest), int(size), str(media_type)]:
                artifact = hold([(digest, path, media_type)])[digest]
                values = {"path": check_member_path(path), "size": size, "media_type": media_type}
                rows.append(load_row(RunArtifact, values, FILE_FIELDS, run=run, artifact=artifact))
            case _:
                raise build_catalogue_error("runs", "a file is not what it must be")
    RunArtifact.objects.bulk_create(rows, batch_size=ROWS_PER_INSERT)


def insert_series(run: Run, series: Any) -> None:
    """Metrics, points and buckets as they were recorded."""
    if not isinstance(series, list):
        raise build_catalogue_error("series", "it is no list")
    same = {"run": run, "project": run.project, "experiment": run.experiment, "started_at": run.started_at}
    for values in series:
        metric = load_row(Metric, values, fields.METRIC, **same)
        metric.save(force_insert=True)
        insert_rows(MetricPoint, metric, fields.POINT, values.get("points"))
        insert_rows(MetricBucket, metric, fields.BUCKET, values.get("buckets"))


def insert_rows(model: type[Any], metric: Metric, names: tuple[str, ...], rows: Any) -> None:
    if not isinstance(rows, list):
        raise build_catalogue_error("series", "its points are no list")
    for start in range(0, len(rows), ROWS_PER_INSERT):
        batch = [build_point(model, metric, names, row) for row in rows[start : start + ROWS_PER_INSERT]]
        model.objects.bulk_create(batch)


def build_point(model: type[Any], metric: Metric, names: tuple[str, ...], row: Any) -> Any:
    if not isinstance(row, list) or len(row) != len(names):
        raise build_catalogue_error("series", "a point has other parts")
    return model(metric=metric, **{name: read_value(name, value) for name, value in zip(names, row, strict=True)})


def read_value(name: str, value: Any) -> float | bool | datetime | None:
    """A part of a point: a number, a flag, or a time where the name says so."""
    if name == "at" or name.endswith("_at"):
        moment = parse_datetime(value) if isinstance(value, str) else None
        if moment is None and value is not None:
            raise build_catalogue_error("series", "a point has no time")
        return moment
    if value is None or isinstance(value, int | float):
        return value
    raise build_catalogue_error("series", "a point is no number")
