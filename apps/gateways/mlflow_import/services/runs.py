"""Experiments and runs that come from MLflow.

A run keeps its id. It comes in one transaction with its first TOGETHER points and one record; those behind follow so
many at a time, and until the last is there the run counts as deleted. Killed in the middle, the next import goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, StaleState
from apps.gateways.mlflow_import.models import ImportedRun
from apps.gateways.mlflow_import.services.rows import File, add_texts, build_artifact_rows
from apps.gateways.mlflow_import.source_records import Link, SourceExperiment, SourceRun, parse_milliseconds
from apps.ml.experiments.keys import CONTEXT_TAG, NAME_TAG
from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import (
    DEFAULT_NAME,
    DEFAULT_NUMBER,
    Experiment,
    ExperimentTag,
    Metric,
    Run,
    RunArtifact,
    RunDataset,
    RunModel,
    RunParam,
    RunTag,
)
from apps.ml.experiments.services.jobs import save_points
from apps.ml.experiments.states import ENDED
from apps.platform.accounts.models import Project
from apps.platform.artifacts.bulk_sql import split_into_batches
from apps.platform.audit import services as audit

POINTS_PER_TRANSACTION = 20_000  # points of one transaction
NAME_LIMIT = 250


# -- experiments ----------------------------------------------------------------------------------------------------
def import_experiment(*, actor: Actor, project: Project, source: str, record: SourceExperiment) -> Experiment:
    """The experiment of this name, made if the project has none; "Default" is number 0.

    Raises Conflict for one that was deleted here and is not deleted there.
    """
    policy.require(actor, "run.import", project)
    while True:
        experiment = find_experiment(project, record)
        if experiment is not None:
            add_texts(ExperimentTag, {"experiment": experiment}, record.tags)
            return experiment
        try:
            with transaction.atomic():
                return insert_experiment(actor, project, source, record)
        except IntegrityError:  # somebody else took the name, or the number: look again
            continue


def find_experiment(project: Project, record: SourceExperiment) -> Experiment | None:
    """The experiment of this name; Conflict for one that was deleted here and is not deleted there."""
    experiment = Experiment.objects.filter(project=project, name=record.name).first()
    if experiment is not None and experiment.deleted_at is not None and not record.deleted:
        raise Conflict(
            f"experiment {record.name!r} is deleted here: nothing of it was taken. Restore it and import again",
            code="experiment_deleted",
        )
    return experiment


def insert_experiment(actor: Actor, project: Project, source: str, record: SourceExperiment) -> Experiment:
    newest = Experiment.objects.filter(project=project).aggregate(newest=Max("number"))["newest"] or 0
    experiment = Experiment.objects.create(
        project=project,
        number=DEFAULT_NUMBER if record.name == DEFAULT_NAME else newest + 1,
        name=record.name,
        created_by=actor.label,
        updated_at=parse_milliseconds(record.updated) or timezone.now(),
        deleted_at=(parse_milliseconds(record.updated) or timezone.now()) if record.deleted else None,
    )
    created = parse_milliseconds(record.created)
    if created is not None:
        Experiment.objects.filter(pk=experiment.pk).update(created_at=created)
    add_texts(ExperimentTag, {"experiment": experiment}, record.tags)
    after = {"name": experiment.name, "number": experiment.number, "source": source, "experiment": record.id}
    audit.record(actor=actor, action="experiment.import", obj=experiment, after=after)
    return experiment


# -- runs -----------------------------------------------------------------------------------------------------------
def import_run(
    *,
    actor: Actor,
    experiment: Experiment,
    source: str,
    record: SourceRun,
    files: Sequence[File],
    points: Iterator[Point],
) -> Run:
    """Take over a run, or what is new of it: `files` and `points` are those that it does not have yet.

    Raises Conflict for an id that is taken by a run that no import brought, and for a run that is being purged;
    StaleState where another import writes it.
    """
    policy.require(actor, "run.import", experiment)
    parts = split_into_batches(points, POINTS_PER_TRANSACTION)
    part, next_part = next(parts, []), next(parts, [])  # asked for outside of the transaction: the source may be slow
    metrics: dict[str, int] = {}
    with transaction.atomic():
        run = lock_run(experiment, source, record) or insert_run(actor, experiment, source, record)
        fresh = add_facts(run, record, files)
        metrics = add_points(run, part, None)
        if not next_part:
            finish_run(actor, run, source, record, files, fresh=fresh or bool(part))
        else:
            hide_run(run)
    while next_part:
        part, next_part = next_part, next(parts, [])
        with transaction.atomic():
            lock_run(experiment, source, record)
            metrics |= add_points(run, part, metrics)
            if not next_part:
                finish_run(actor, run, source, record, files, fresh=True)
    return run


def lock_run(experiment: Experiment, source: str, record: SourceRun) -> Run | None:
    run = Run.objects.select_for_update(no_key=True, of=("self",)).filter(pk=record.id).first()
    if run is None:
        return None
    if run.project_id != experiment.project_id or run.experiment_id != experiment.pk:
        raise Conflict(f"run {record.id} belongs to another experiment or project here", code="run_taken")
    if not ImportedRun.objects.filter(run=run).exists():
        raise Conflict(f"run {record.id} is here already, and no import brought it", code="run_taken")
    if run.purging_at is not None:
        raise Conflict(f"run {record.id} is being purged here: it was left out", code="run_purging")
    return run


def insert_run(actor: Actor, experiment: Experiment, source: str, record: SourceRun) -> Run:
    run = Run.objects.create(
        id=record.id,
        project_id=experiment.project_id,
        experiment=experiment,
        name=record.name[:NAME_LIMIT],
        state=record.state,
        started_at=parse_milliseconds(record.started) or timezone.now(),
        ended_at=parse_milliseconds(record.ended),
        created_by=actor.label,
        client_user=record.user[:256],
        deleted_at=get_deletion_time(experiment) if record.deleted else None,
    )
    ImportedRun.objects.create(
        run=run, source=source, links=[[link.model_id, link.direction, link.step] for link in record.links]
    )
    return run


def get_deletion_time(experiment: Experiment) -> datetime:
    """When a deleted run counts as deleted: with its experiment, which brings it back, or else now."""
    return experiment.deleted_at or timezone.now()


def add_facts(run: Run, record: SourceRun, files: Sequence[File]) -> bool:
    """Params, tags, datasets and files that the run does not have; whether there was any."""
    tags = {key: value for key, value in record.tags.items() if key != NAME_TAG}
    fresh = add_texts(RunParam, {"run": run}, record.params) + add_texts(RunTag, {"run": run}, tags)
    existing_datasets = set(RunDataset.objects.filter(run=run).values_list("name", "digest"))
    rows = [
        RunDataset(
            run=run,
            context=each.tags.get(CONTEXT_TAG, "")[:250],
            tags=[{"key": key, "value": value} for key, value in each.tags.items()],
            **{name: getattr(each, name) for name in ("name", "digest", "source_type", "source", "schema", "profile")},
        )
        for each in record.datasets
        if (each.name, each.digest) not in existing_datasets
    ]
    RunDataset.objects.bulk_create(rows)
    RunArtifact.objects.bulk_create(build_artifact_rows(RunArtifact, {"run": run}, files), batch_size=1000)
    return add_links(run, record.links) or bool(fresh or rows or files)


def add_links(run: Run, links: Sequence[Link]) -> bool:
    """Let links that came there since wait for link_models; whether there was any."""
    imported = ImportedRun.objects.get(run=run)
    existing = {(model, direction) for model, direction, _ in imported.links}
    existing |= set(RunModel.objects.filter(run=run).values_list("model_id", "direction"))
    fresh = [
        [link.model_id, link.direction, link.step] for link in links if (link.model_id, link.direction) not in existing
    ]
    if fresh:
        ImportedRun.objects.filter(run=run).update(links=imported.links + fresh)
    return bool(fresh)


def add_points(run: Run, points: Sequence[Point], counts: Mapping[str, int] | None) -> dict[str, int]:
    """Append points; how many each of their metrics has now. `counts`: how many they had, as far as it is known."""
    by_key: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        by_key[point.key].append(point)
    metrics = {metric.key: metric for metric in Metric.objects.filter(run=run, key__in=list(by_key))}
    for key, metric in metrics.items():
        if counts is not None and metric.count != counts.get(key, metric.count):
            raise StaleState(f"somebody else writes to run {run.pk} meanwhile", field="run")
    for key in by_key:
        if key not in metrics:
            metrics[key] = Metric(
                run=run,
                project_id=run.project_id,
                experiment_id=run.experiment_id,
                started_at=run.started_at,
                key=key,
            )
            series.reset_metric(metrics[key])
    save_points(run, metrics, by_key)
    return {key: metric.count for key, metric in metrics.items()}


def hide_run(run: Run) -> None:
    """Until its last point is there. One that is deleted here stays so, and needs no hiding."""
    if Run.objects.filter(pk=run.pk, deleted_at=None).update(deleted_at=timezone.now()):
        ImportedRun.objects.filter(run=run).update(complete=False)


def finish_run(actor: Actor, run: Run, source: str, record: SourceRun, files: Sequence[File], *, fresh: bool) -> None:
    """The end of a run that is whole: its digest, its end and its record; nothing where nothing is new."""
    imported = ImportedRun.objects.get(run=run)
    ended = record.state if record.state in ENDED and run.state not in ENDED else ""
    if imported.complete and not fresh and not ended:
        if imported.mark != record.mark:
            ImportedRun.objects.filter(run=run).update(mark=record.mark)
        return
    metrics = list(Metric.objects.filter(run=run).only("key", "count", "digest"))
    digest = series.compute_run_digest(metrics)
    columns: dict[str, Any] = {"metrics_count": series.count_run_points(metrics)}
    columns["metrics_digest"] = digest if record.state in ENDED else ""
    if not imported.complete:
        columns["deleted_at"] = (run.deleted_at or get_deletion_time(run.experiment)) if record.deleted else None
    digests = {"metrics": digest} | {f"artifact {path}": stored.digest for path, stored in files[:100]}
    after = {
        "source": source,
        "name": run.name,
        "points": sum(metric.count for metric in metrics),
        "files": len(files),
        "bytes": sum(stored.size for _, stored in files),
        "again": imported.complete,
    }
    if ended:
        reason = f"Ended in {source}"
        columns["ended_at"] = parse_milliseconds(record.ended)
        audit.change_state(run, ended, actor=actor, reason=reason, action="run.import", digests=digests, **columns)
    else:
        Run.objects.filter(pk=run.pk).update(**columns)
        audit.record(actor=actor, action="run.import", obj=run, after=after, digests=digests)
    ImportedRun.objects.filter(run=run).update(complete=True, mark=record.mark, at=timezone.now())
