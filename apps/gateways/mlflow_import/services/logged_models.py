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
from apps.gateways.mlflow_import.services.rows import File, add_texts, artifact_rows
from apps.gateways.mlflow_import.source_records import FoundLoggedModel, Link, moment
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


def take_logged_model(
    *, actor: Actor, experiment: Experiment, source: str, found: FoundLoggedModel, files: Sequence[File]
) -> LoggedModel:
    """Take over a logged model, or the params, tags, metrics and `files` that it does not have yet."""
    policy.require(actor, "run.import", experiment)
    with transaction.atomic():
        model = LoggedModel.objects.select_for_update(no_key=True, of=("self",)).filter(pk=found.id).first()
        if model is None:
            model = insert_logged_model(actor, experiment, found)
            after = {"source": source, "name": model.name, "run": found.run_id, "files": len(files)}
            digests = {path: stored.digest for path, stored in files[:100]}
            audit.record(actor=actor, action="logged_model.import", obj=model, after=after, digests=digests)
        elif model.experiment_id != experiment.pk:
            raise Conflict(f"logged model {found.id} belongs to another experiment here", code="model_taken")
        add_texts(LoggedModelParam, {"model": model}, found.params)
        add_texts(LoggedModelTag, {"model": model}, found.tags)
        add_model_metrics(model, found)
        LoggedModelArtifact.objects.bulk_create(artifact_rows(LoggedModelArtifact, {"model": model}, files))
    return model


def insert_logged_model(actor: Actor, experiment: Experiment, found: FoundLoggedModel) -> LoggedModel:
    runs = Run.objects.filter(project_id=experiment.project_id, purging_at=None)
    run = runs.filter(pk=found.run_id).first() if found.run_id else None
    return LoggedModel.objects.create(
        id=found.id,
        project_id=experiment.project_id,
        experiment=experiment,
        name=found.name,
        model_type=found.model_type,
        state=found.state,
        source_run=run,
        created_by=actor.label,
        created_at=moment(found.created) or timezone.now(),
        updated_at=moment(found.updated) or timezone.now(),
        deleted_at=timezone.now() if found.deleted else None,
    )


def add_model_metrics(model: LoggedModel, found: FoundLoggedModel) -> None:
    runs = set(
        Run.objects.filter(pk__in={each.run_id for each in found.metrics}, project_id=model.project_id).values_list(
            "pk", flat=True
        )
    )
    names = ("key", "dataset_name", "dataset_digest", "run_id")
    held = set(LoggedModelMetric.objects.filter(model=model).values_list(*names))
    rows = []
    for each in found.metrics:
        if each.run_id in runs and tuple(getattr(each, name) for name in names) not in held:
            value, is_nan = series.stored(each.value)
            row = LoggedModelMetric(model=model, value=value, is_nan=is_nan, step=each.step, at=required(each.at))
            for name in names:
                setattr(row, name, getattr(each, name))
            rows.append(row)
    LoggedModelMetric.objects.bulk_create(rows)


def link_models(*, actor: Actor, project: Project, links: Mapping[str, Sequence[Link]]) -> None:
    """Note which logged models runs read or made, once both are there; `links` by the id of the run."""
    policy.require(actor, "run.import", project)
    asked = {link.model_id for each in links.values() for link in each}
    there = set(LoggedModel.objects.filter(pk__in=asked, project=project).values_list("pk", flat=True))
    with transaction.atomic():
        for run_id, each in links.items():
            RunModel.objects.bulk_create(
                (
                    RunModel(run_id=run_id, model_id=link.model_id, direction=link.direction, step=link.step)
                    for link in each
                    if link.model_id in there
                ),
                ignore_conflicts=True,
            )
            left = [[link.model_id, link.direction, link.step] for link in each if link.model_id not in there]
            ImportedRun.objects.filter(run_id=run_id).update(links=left)


def required(milliseconds: int) -> datetime:
    found = moment(milliseconds)
    assert found is not None  # noqa: S101 - only None gives None
    return found
