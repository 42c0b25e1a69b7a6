"""Logged models that come from MLflow, and which of them runs read or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.gateways.mlflow_import.models import ImportedRun
from apps.gateways.mlflow_import.services.rows import File, add_texts, build_artifact_rows
from apps.gateways.mlflow_import.source_records import Link, SourceLoggedModel, parse_milliseconds
from apps.ml.experiments.metrics import series
from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelArtifact,
    LoggedModelMetric,
    LoggedModelParam,
    LoggedModelTag,
    Run,
    RunModel,
)
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit


def import_logged_model(
    *, actor: Actor, experiment: Experiment, source: str, record: SourceLoggedModel, files: Sequence[File]
) -> LoggedModel:
    """Take over a logged model, or the params, tags, metrics and `files` that it does not have yet."""
    policy.require(actor, "run.import", experiment)
    with transaction.atomic():
        model = LoggedModel.objects.select_for_update(no_key=True, of=("self",)).filter(pk=record.id).first()
        if model is None:
            model = insert_logged_model(actor, experiment, record)
            after = {"source": source, "name": model.name, "run": record.run_id, "files": len(files)}
            digests = {path: stored.digest for path, stored in files[:100]}
            audit.record(actor=actor, action="logged_model.import", obj=model, after=after, digests=digests)
        elif model.experiment_id != experiment.pk:
            raise Conflict(f"logged model {record.id} belongs to another experiment here", code="model_taken")
        add_texts(LoggedModelParam, {"model": model}, record.params)
        add_texts(LoggedModelTag, {"model": model}, record.tags)
        add_model_metrics(model, record)
        LoggedModelArtifact.objects.bulk_create(build_artifact_rows(LoggedModelArtifact, {"model": model}, files))
    return model


def insert_logged_model(actor: Actor, experiment: Experiment, record: SourceLoggedModel) -> LoggedModel:
    runs = Run.objects.filter(project_id=experiment.project_id, purging_at=None)
    run = runs.filter(pk=record.run_id).first() if record.run_id else None
    return LoggedModel.objects.create(
        id=record.id,
        project_id=experiment.project_id,
        experiment=experiment,
        name=record.name,
        model_type=record.model_type,
        state=record.state,
        source_run=run,
        created_by=actor.label,
        created_at=parse_milliseconds(record.created) or timezone.now(),
        updated_at=parse_milliseconds(record.updated) or timezone.now(),
        deleted_at=timezone.now() if record.deleted else None,
    )


def add_model_metrics(model: LoggedModel, record: SourceLoggedModel) -> None:
    runs = set(
        Run.objects.filter(
            pk__in={metric.run_id for metric in record.metrics}, project_id=model.project_id
        ).values_list("pk", flat=True)
    )
    names = ("key", "dataset_name", "dataset_digest", "run_id")
    existing = set(LoggedModelMetric.objects.filter(model=model).values_list(*names))
    rows = []
    for metric in record.metrics:
        if metric.run_id in runs and tuple(getattr(metric, name) for name in names) not in existing:
            value, is_nan = series.convert_for_storage(metric.value)
            row = LoggedModelMetric(
                model=model, value=value, is_nan=is_nan, step=metric.step, at=require_time(metric.at)
            )
            for name in names:
                setattr(row, name, getattr(metric, name))
            rows.append(row)
    LoggedModelMetric.objects.bulk_create(rows)


def link_models(*, actor: Actor, project: Project, links: Mapping[str, Sequence[Link]]) -> None:
    """Note which logged models runs read or made, once both are there; `links` by the id of the run."""
    policy.require(actor, "run.import", project)
    model_ids = {link.model_id for each in links.values() for link in each}
    existing = set(LoggedModel.objects.filter(pk__in=model_ids, project=project).values_list("pk", flat=True))
    with transaction.atomic():
        for run_id, each in links.items():
            RunModel.objects.bulk_create(
                (
                    RunModel(run_id=run_id, model_id=link.model_id, direction=link.direction, step=link.step)
                    for link in each
                    if link.model_id in existing
                ),
                ignore_conflicts=True,
            )
            pending = [[link.model_id, link.direction, link.step] for link in each if link.model_id not in existing]
            ImportedRun.objects.filter(run_id=run_id).update(links=pending)


def require_time(milliseconds: int) -> datetime:
    time = parse_milliseconds(milliseconds)
    assert time is not None  # noqa: S101 - only None gives None
    return time
