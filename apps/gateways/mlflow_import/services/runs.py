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
from apps.gateways.mlflow_import.services.rows import File, add_texts, artifact_rows
from apps.gateways.mlflow_import.source_records import FoundExperiment, FoundRun, Link, moment
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
from apps.platform.artifacts.bulk_sql import batches
from apps.platform.audit import services as audit

TOGETHER = 20_000  # points of one transaction
NAME_LIMIT = 250


# -- experiments ----------------------------------------------------------------------------------------------------
def take_experiment(*, actor: Actor, project: Project, source: str, found: FoundExperiment) -> Experiment:
    """The experiment of this name, made if the project has none; "Default" is number 0.

    Raises Conflict for one that was deleted here and is not deleted there.
    """
    policy.require(actor, "run.import", project)
    while True:
        held = held_experiment(project, found)
        if held is not None:
            add_texts(ExperimentTag, {"experiment": held}, found.tags)
            return held
        try:
            with transaction.atomic():
                return insert_experiment(actor, project, source, found)
        except IntegrityError:  # somebody else took the name, or the number: look again
            continue


def held_experiment(project: Project, found: FoundExperiment) -> Experiment | None:
    """The experiment of this name; Conflict for one that was deleted here and is not deleted there."""
    held = Experiment.objects.filter(project=project, name=found.name).first()
    if held is not None and held.deleted_at is not None and not found.deleted:
        raise Conflict(
            f"experiment {found.name!r} is deleted here: nothing of it was taken. Restore it and import again",
            code="experiment_deleted",
        )
    return held


def insert_experiment(actor: Actor, project: Project, source: str, found: FoundExperiment) -> Experiment:
    newest = Experiment.objects.filter(project=project).aggregate(newest=Max("number"))["newest"] or 0
    made = Experiment.objects.create(
        project=project,
        number=DEFAULT_NUMBER if found.name == DEFAULT_NAME else newest + 1,
        name=found.name,
        created_by=actor.label,
        updated_at=moment(found.updated) or timezone.now(),
        deleted_at=(moment(found.updated) or timezone.now()) if found.deleted else None,
    )
    created = moment(found.created)
    if created is not None:
        Experiment.objects.filter(pk=made.pk).update(created_at=created)
    add_texts(ExperimentTag, {"experiment": made}, found.tags)
    after = {"name": made.name, "number": made.number, "source": source, "experiment": found.id}
    audit.record(actor=actor, action="experiment.import", obj=made, after=after)
    return made


# -- runs -----------------------------------------------------------------------------------------------------------
def take_run(
    *,
    actor: Actor,
    experiment: Experiment,
    source: str,
    found: FoundRun,
    files: Sequence[File],
    points: Iterator[Point],
) -> Run:
    """Take over a run, or what is new of it: `files` and `points` are those that it does not have yet.

    Raises Conflict for an id that is taken by a run that no import brought, and for a run that is being purged;
    StaleState where another import writes it.
    """
    policy.require(actor, "run.import", experiment)
    parts = batches(points, TOGETHER)
    part, behind = next(parts, []), next(parts, [])  # asked for outside of the transaction: the source may be slow
    metrics: dict[str, int] = {}
    with transaction.atomic():
        run = locked_run(experiment, source, found) or insert_run(actor, experiment, source, found)
        fresh = add_facts(run, found, files)
        metrics = add_points(run, part, None)
        if not behind:
            finish(actor, run, source, found, files, fresh=fresh or bool(part))
        else:
            hide(run)
    while behind:
        part, behind = behind, next(parts, [])
        with transaction.atomic():
            locked_run(experiment, source, found)
            metrics |= add_points(run, part, metrics)
            if not behind:
                finish(actor, run, source, found, files, fresh=True)
    return run


def locked_run(experiment: Experiment, source: str, found: FoundRun) -> Run | None:
    run = Run.objects.select_for_update(no_key=True, of=("self",)).filter(pk=found.id).first()
    if run is None:
        return None
    if run.project_id != experiment.project_id or run.experiment_id != experiment.pk:
        raise Conflict(f"run {found.id} belongs to another experiment or project here", code="run_taken")
    if not ImportedRun.objects.filter(run=run).exists():
        raise Conflict(f"run {found.id} is here already, and no import brought it", code="run_taken")
    if run.purging_at is not None:
        raise Conflict(f"run {found.id} is being purged here: it was left out", code="run_purging")
    return run


def insert_run(actor: Actor, experiment: Experiment, source: str, found: FoundRun) -> Run:
    run = Run.objects.create(
        id=found.id,
        project_id=experiment.project_id,
        experiment=experiment,
        name=found.name[:NAME_LIMIT],
        state=found.state,
        started_at=moment(found.started) or timezone.now(),
        ended_at=moment(found.ended),
        created_by=actor.label,
        client_user=found.user[:256],
        deleted_at=deletion_of(experiment) if found.deleted else None,
    )
    ImportedRun.objects.create(
        run=run, source=source, links=[[link.model_id, link.direction, link.step] for link in found.links]
    )
    return run


def deletion_of(experiment: Experiment) -> datetime:
    """When a deleted run counts as deleted: with its experiment, which brings it back, or else now."""
    return experiment.deleted_at or timezone.now()


def add_facts(run: Run, found: FoundRun, files: Sequence[File]) -> bool:
    """Params, tags, datasets and files that the run does not have; whether there was any."""
    tags = {key: value for key, value in found.tags.items() if key != NAME_TAG}
    fresh = add_texts(RunParam, {"run": run}, found.params) + add_texts(RunTag, {"run": run}, tags)
    held = set(RunDataset.objects.filter(run=run).values_list("name", "digest"))
    rows = [
        RunDataset(
            run=run,
            context=each.tags.get(CONTEXT_TAG, "")[:250],
            tags=[{"key": key, "value": value} for key, value in each.tags.items()],
            **{name: getattr(each, name) for name in ("name", "digest", "source_type", "source", "schema", "profile")},
        )
        for each in found.datasets
        if (each.name, each.digest) not in held
    ]
    RunDataset.objects.bulk_create(rows)
    RunArtifact.objects.bulk_create(artifact_rows(RunArtifact, {"run": run}, files), batch_size=1000)
    return add_links(run, found.links) or bool(fresh or rows or files)


def add_links(run: Run, links: Sequence[Link]) -> bool:
    """Let links that came there since wait for link_models; whether there was any."""
    told = ImportedRun.objects.get(run=run)
    held = {(model, direction) for model, direction, _ in told.links}
    held |= set(RunModel.objects.filter(run=run).values_list("model_id", "direction"))
    fresh = [
        [link.model_id, link.direction, link.step] for link in links if (link.model_id, link.direction) not in held
    ]
    if fresh:
        ImportedRun.objects.filter(run=run).update(links=told.links + fresh)
    return bool(fresh)


def add_points(run: Run, points: Sequence[Point], counts: Mapping[str, int] | None) -> dict[str, int]:
    """Append points; how many each of their metrics has now. `counts`: how many they had, as far as it is known."""
    by_key: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        by_key[point.key].append(point)
    known = {metric.key: metric for metric in Metric.objects.filter(run=run, key__in=list(by_key))}
    for key, metric in known.items():
        if counts is not None and metric.count != counts.get(key, metric.count):
            raise StaleState(f"somebody else writes to run {run.pk} meanwhile", field="run")
    for key in by_key:
        if key not in known:
            known[key] = Metric(
                run=run,
                project_id=run.project_id,
                experiment_id=run.experiment_id,
                started_at=run.started_at,
                key=key,
            )
            series.begin(known[key])
    save_points(run, known, by_key)
    return {key: metric.count for key, metric in known.items()}


def hide(run: Run) -> None:
    """Until its last point is there. One that is deleted here stays so, and needs no hiding."""
    if Run.objects.filter(pk=run.pk, deleted_at=None).update(deleted_at=timezone.now()):
        ImportedRun.objects.filter(run=run).update(complete=False)


def finish(actor: Actor, run: Run, source: str, found: FoundRun, files: Sequence[File], *, fresh: bool) -> None:
    """The end of a run that is whole: its digest, its end and its record; nothing where nothing is new."""
    told = ImportedRun.objects.get(run=run)
    ended = found.state if found.state in ENDED and run.state not in ENDED else ""
    if told.complete and not fresh and not ended:
        if told.mark != found.mark:
            ImportedRun.objects.filter(run=run).update(mark=found.mark)
        return
    metrics = list(Metric.objects.filter(run=run).only("key", "count", "digest"))
    digest = series.digest_of_all(metrics)
    columns: dict[str, Any] = {"metrics_count": series.count_of_all(metrics)}
    columns["metrics_digest"] = digest if found.state in ENDED else ""
    if not told.complete:
        columns["deleted_at"] = (run.deleted_at or deletion_of(run.experiment)) if found.deleted else None
    digests = {"metrics": digest} | {f"artifact {path}": stored.digest for path, stored in files[:100]}
    after = {
        "source": source,
        "name": run.name,
        "points": sum(metric.count for metric in metrics),
        "files": len(files),
        "bytes": sum(stored.size for _, stored in files),
        "again": told.complete,
    }
    if ended:
        reason = f"Ended in {source}"
        columns["ended_at"] = moment(found.ended)
        audit.change_state(run, ended, actor=actor, reason=reason, action="run.import", digests=digests, **columns)
    else:
        Run.objects.filter(pk=run.pk).update(**columns)
        audit.record(actor=actor, action="run.import", obj=run, after=after, digests=digests)
    ImportedRun.objects.filter(run=run).update(complete=True, mark=found.mark, at=timezone.now())
