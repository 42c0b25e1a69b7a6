"""Every write of an import from MLflow. What is there already is never changed: only what is new is added.

A run keeps its id. It comes in one transaction with its first TOGETHER points and one record; those behind follow so
many at a time, and until the last is there the run counts as deleted. Killed in the middle, the next import goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import Max
from django.utils import timezone

from apps import policy
from apps.accounts.models import Project
from apps.actors import Actor
from apps.artifacts.many import Stored, batches
from apps.audit import services as audit
from apps.errors import Conflict, StaleState
from apps.experiments import series
from apps.experiments.keys import CONTEXT_TAG, NAME_TAG
from apps.experiments.models import (
    DEFAULT_NAME,
    DEFAULT_NUMBER,
    Experiment,
    ExperimentTag,
    LoggedModel,
    LoggedModelArtifact,
    LoggedModelMetric,
    LoggedModelParam,
    LoggedModelTag,
    Metric,
    Run,
    RunArtifact,
    RunDataset,
    RunModel,
    RunParam,
    RunTag,
)
from apps.experiments.series import Point
from apps.experiments.services.jobs import save_points
from apps.experiments.states import ENDED
from apps.lineage.services import record_with
from apps.mlflow_import.documents import document_of, same_version
from apps.mlflow_import.found import (
    FoundExperiment,
    FoundLoggedModel,
    FoundRegisteredModel,
    FoundRun,
    FoundVersion,
    Link,
    moment,
)
from apps.mlflow_import.models import ImportedRun
from apps.mlflow_import.places import Place
from apps.registry.models import Alias, AliasMove, Model, ModelTag, ModelVersion, ModelVersionFile, ModelVersionTag
from apps.registry.services.aliases import move_alias, require_there
from apps.registry.services.checks import check_client_alias
from apps.registry.services.clients import edges_of
from apps.registry.sources import Source
from apps.registry.states import APPROVED_STAGE, PROTECTED, STAGES, MoveKind

TOGETHER = 20_000  # points of one transaction
NAME_LIMIT = 250
File = tuple[str, Stored]
"""The path of a file of a run or a model, and its bytes, which are in the store and held by the project."""


def require_import(*, actor: Actor, project: Project) -> None:
    """Refuse who may not import before anything of the source is read."""
    policy.require(actor, "run.import", project)
    policy.require(actor, "model.import", project)
    policy.require(actor, "artifact.take_in", project)


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
        deleted_at=timezone.now() if found.deleted else None,
    )
    ImportedRun.objects.create(
        run=run, source=source, links=[[link.model_id, link.direction, link.step] for link in found.links]
    )
    return run


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
        columns["deleted_at"] = (run.deleted_at or timezone.now()) if found.deleted else None
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


# -- logged models --------------------------------------------------------------------------------------------------
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


# -- the registry ---------------------------------------------------------------------------------------------------
def take_model(*, actor: Actor, project: Project, source: str, found: FoundRegisteredModel) -> Model:
    """The registered model of this name, made if the project has none."""
    policy.require(actor, "model.import", project)
    held = Model.objects.filter(project=project, name=found.name, deleted_at=None).first()
    if held is None:
        try:
            with transaction.atomic():
                held = insert_model(actor, project, source, found)
        except IntegrityError:
            held = Model.objects.get(project=project, name=found.name, deleted_at=None)
    add_texts(ModelTag, {"model": held}, found.tags)
    return held


def insert_model(actor: Actor, project: Project, source: str, found: FoundRegisteredModel) -> Model:
    now = timezone.now()
    made = Model.objects.create(
        project=project,
        name=found.name,
        description=found.description,
        created_by=actor.label,
        touched_at=moment(found.updated) or now,
        updated_at=moment(found.updated) or now,
    )
    if found.created is not None:
        Model.objects.filter(pk=made.pk).update(created_at=moment(found.created))
    audit.record(actor=actor, action="model.import", obj=made, after={"name": made.name, "source": source})
    return made


def take_version(*, actor: Actor, model: Model, source: str, found: FoundVersion, place: Place) -> ModelVersion:
    """Take over a version under its number; `place` tells where its files are here.

    Raises Conflict where the model has another version of this number.
    """
    policy.require(actor, "model.import", model)
    text, digest = document_of(found, place)
    with transaction.atomic():
        locked = Model.objects.select_for_update().get(pk=model.pk)
        held = ModelVersion.objects.select_related("model").filter(model=locked, number=found.number).first()
        if held is not None and not same_version(held.document, text):
            raise Conflict(f"{model.name} has another version {found.number} here", code="version_taken")
        version = held or insert_version(actor, locked, source, found, place, text, digest)
        add_texts(ModelVersionTag, {"version": version}, found.tags)
    return version


def insert_version(
    actor: Actor, model: Model, source: str, found: FoundVersion, place: Place, text: str, digest: str
) -> ModelVersion:
    stage = stage_of(found)
    version = ModelVersion.objects.create(
        model=model,
        number=found.number,
        digest=digest,
        document=text,
        run=place.run,
        source=place.source[:500],
        logged_model=place.logged_model,
        run_link=found.run_link[:500],
        description=found.description,
        stage="None" if stage == APPROVED_STAGE else stage,
        created_by=actor.label,
        updated_at=moment(found.updated) or timezone.now(),
    )
    if found.created is not None:
        ModelVersion.objects.filter(pk=version.pk).update(created_at=moment(found.created))
    Model.objects.filter(pk=model.pk, versions_count__lt=found.number).update(versions_count=found.number)
    ModelVersionFile.objects.bulk_create(
        ModelVersionFile(version=version, path=path, artifact_id=digest, size=size, media_type=media_type)
        for path, digest, size, media_type in place.files
    )
    after = {"model": model.name, "number": found.number, "source": source, "files": len(place.files)}
    made_of = Source(place.run.pk if place.run else None, place.logged_model.pk if place.logged_model else None)
    after |= {"run": made_of.run_id, "logged_model": made_of.logged_model_id}
    digests = {"version": digest} | {path: sha256 for path, sha256, _, _ in place.files[:100]}
    audit.record(actor=actor, action="model_version.import", obj=version, after=after, digests=digests)
    record_with(model.project, edges_of(version, made_of))
    return version


def stage_of(found: FoundVersion) -> str:
    """One of MLflow's stages; a word that is none of them says nothing."""
    return next((word for word in STAGES if word.lower() == found.stage.lower()), "None")


def take_alias(*, actor: Actor, version: ModelVersion, name: str) -> bool:
    """Let an alias point to a version, unless the model has it; False for a protected one, which moves by approval.

    Raises Conflict where it points to another version here, Invalid for a name that clients cannot give either,
    StaleState for a version that was deleted here.
    """
    policy.require(actor, "model.import", version.model)
    if name.lower() in PROTECTED:
        return False
    check_client_alias(name)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=version.model_id)
        require_there(version)
        held = Alias.objects.select_related("version").filter(model=version.model, name=name).first()
        if held is None:
            move_alias(actor, AliasMove(alias=name, kind=MoveKind.SET, to_version=version, reason="Taken from MLflow"))
        elif held.version_id != version.pk:
            raise Conflict(
                f"alias {name} of {version.model.name} is at version {held.version.number} here and stays",
                code="alias_moved",
            )
    return True


# -- rows of either -------------------------------------------------------------------------------------------------
def add_texts(table: Any, owner: Mapping[str, models.Model], told: Mapping[str, str]) -> int:
    """Rows (key, value) of `owner` for the keys that it does not have; how many."""
    held = set(table.objects.filter(**owner).values_list("key", flat=True))
    rows = [table(**owner, key=key, value=value) for key, value in told.items() if key not in held]
    table.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def artifact_rows(table: Any, owner: Mapping[str, models.Model], files: Iterable[File]) -> list[Any]:
    return [
        table(**owner, path=path, artifact_id=stored.digest, size=stored.size, media_type=stored.media_type)
        for path, stored in files
    ]


def required(milliseconds: int) -> datetime:
    found = moment(milliseconds)
    assert found is not None  # noqa: S101 - only None gives None
    return found
