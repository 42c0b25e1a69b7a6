"""Decide which deleted runs may be purged: holds and citations of a run or of its logged models keep it. Read-only.

Every foreign key to a run that would protect it is found through the models, so an app that comes later cites too;
RUN_CITATIONS holds the functions of apps that cite in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Count, Sum

from apps.core.registry import Registry
from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelArtifact,
    LoggedModelMetric,
    Metric,
    Run,
    RunArtifact,
    RunModel,
)
from apps.platform.accounts.models import Project
from apps.platform.artifacts.garbage import list_foreign_keys_to
from apps.platform.holds.queries import find_held_ids, find_hold_reason

Cites = Callable[[Sequence[Run]], Mapping[str, str]]
RUN_CITATIONS: Registry[Cites] = Registry("RUN_CITATIONS")
"""By app: {id: why} of those of these runs, of one project, that it cites in another way than by a foreign key."""


@dataclass(frozen=True, slots=True)
class PurgeDecision:
    """A run that is deleted long enough. `kept`: why it stays nevertheless; "" where it goes."""

    run: Run
    points: int
    files: int
    bytes: int
    kept: str


def list_candidates(project: Project, cutoff: datetime) -> models.QuerySet[Run]:
    """Runs deleted before `cutoff`, those deleted first in front."""
    runs = Run.objects.filter(project=project, deleted_at__lt=cutoff)
    return runs.select_related("experiment", "job").order_by("deleted_at", "id")


def decide_purges(project_id: int, runs: Sequence[Run]) -> list[PurgeDecision]:
    """Decide for each run whether it is purged or kept, in order; the number of queries does not depend on `runs`."""
    reasons, ids = find_reasons_to_keep(project_id, runs), [run.pk for run in runs]
    points = dict(Metric.objects.filter(run__in=ids).values_list("run").annotate(points=Sum("count")).order_by())
    sizes: dict[str, tuple[int, int]] = {}
    for rows in (
        RunArtifact.objects.filter(run__in=ids).values_list("run"),
        LoggedModelArtifact.objects.filter(model__source_run__in=ids).values_list("model__source_run"),
    ):
        for pk, files, size in rows.annotate(files=Count("id"), bytes=Sum("size")).order_by():
            before = sizes.get(pk, (0, 0))
            sizes[pk] = (before[0] + files, before[1] + size)
    return [
        PurgeDecision(run, points.get(run.pk) or 0, *sizes.get(run.pk, (0, 0)), reasons.get(run.pk, "")) for run in runs
    ]


def find_reasons_to_keep(project_id: int, runs: Sequence[Run]) -> dict[str, str]:
    """{id: why} of the runs that stay. One that has begun to go, goes on: its points are not whole any more.

    Unless somebody came to hold it: what is left of it stays.
    """
    undecided = [run for run in runs if run.purging_at is None]
    ids = [run.pk for run in undecided]
    held_runs = find_holds(project_id, runs)
    if not ids or len(held_runs) == len(runs):
        return held_runs
    reasons: dict[str, str] = {}
    for cites in RUN_CITATIONS.values():
        reasons |= cites(undecided)
    reasons |= find_kept_models(project_id, ids) | find_kept_scores(ids)
    for model, field in list_protecting_keys(Run):
        if model is not LoggedModel:
            reasons |= dict.fromkeys(find_cited(model, field, ids), f"a {model._meta.verbose_name} cites it")
    for run in undecided:
        # Nothing writes a deleted run that a client keeps; the job's worker does, also when it is tried again.
        if run.job is not None and not (run.ended and run.job.ended):
            reasons[run.pk] = f"job {run.job_id} still records it"
    return reasons | held_runs


def find_holds(project_id: int, runs: Sequence[Run]) -> dict[str, str]:
    """{id: why} of the runs that a hold covers: on the project, their experiment, a logged model of theirs, or them."""
    ids = [run.pk for run in runs]
    if project_hold := find_hold_reason(project_id, ()):
        return dict.fromkeys(ids, project_hold)
    experiments = find_held_ids(project_id, "experiment", {str(run.experiment_id) for run in runs})
    of_run = {run.pk: experiments[str(run.experiment_id)] for run in runs if str(run.experiment_id) in experiments}
    models_to_runs = dict(LoggedModel.objects.filter(source_run__in=ids).values_list("pk", "source_run_id"))
    models = find_held_ids(project_id, "loggedmodel", list(models_to_runs)) if models_to_runs else {}
    of_models = {str(models_to_runs[pk]): f"its logged model {pk}: {why}" for pk, why in models.items()}
    return of_models | of_run | find_held_ids(project_id, "run", ids)


def find_kept_models(project_id: int, ids: Sequence[str]) -> dict[str, str]:
    """{run: why} where a logged model that one of these runs made must stay."""
    logged_models = LoggedModel.objects.filter(source_run__in=ids).select_related("experiment")
    by_id = {model.pk: model for model in logged_models}
    why = find_model_citations(project_id, by_id)
    return {str(by_id[pk].source_run_id): f"its logged model {pk}: {text}" for pk, text in why.items()}


def find_kept_scores(ids: Sequence[str]) -> dict[str, str]:
    """{run: why} of those that measured a logged model which is alive and which another run made."""
    scores = LoggedModelMetric.objects.filter(
        run__in=ids, model__deleted_at=None, model__experiment__deleted_at=None
    ).values_list("run_id", "model_id", "model__source_run_id")
    return {run: f"it measured the logged model {pk}" for run, pk, source in scores.distinct() if source != run}


def find_model_citations(project_id: int, made: Mapping[str, LoggedModel]) -> dict[str, str]:
    """{id: why} of the logged models that something cites, or that are not deleted."""
    why = {
        pk: "it is not deleted" for pk, model in made.items() if not (model.deleted_at or model.experiment.deleted_at)
    }
    used = RunModel.objects.filter(model__in=made, run__deleted_at=None).values_list("model_id", "run_id")
    why |= {pk: f"run {run} names it" for pk, run in used if run != made[pk].source_run_id}
    for model, field in list_protecting_keys(LoggedModel):
        why |= dict.fromkeys(find_cited(model, field, list(made)), f"a {model._meta.verbose_name} cites it")
    return why | find_held_ids(project_id, "loggedmodel", list(made))


def list_standalone_models(project: Project, cutoff: datetime) -> models.QuerySet[LoggedModel]:
    """Logged models deleted before `cutoff` by themselves, those deleted first in front; others go with their run or
    their experiment.
    """
    expired_models = LoggedModel.objects.filter(project=project, deleted_at__lt=cutoff, experiment__deleted_at=None)
    return expired_models.filter(source_run__deleted_at=None).select_related("experiment").order_by("deleted_at", "id")


def find_standalone_reasons(project_id: int, made: Mapping[str, LoggedModel]) -> dict[str, str]:
    """{id: why} of the logged models, deleted by themselves, that something cites or that a hold covers."""
    if project_hold := find_hold_reason(project_id, ()):
        return dict.fromkeys(made, project_hold)
    experiments = find_held_ids(project_id, "experiment", {str(model.experiment_id) for model in made.values()})
    runs = find_held_ids(project_id, "run", {str(model.source_run_id) for model in made.values()})
    why = {pk: experiments[key] for pk, model in made.items() if (key := str(model.experiment_id)) in experiments}
    why |= {pk: runs[key] for pk, model in made.items() if (key := str(model.source_run_id)) in runs}
    return why | find_model_citations(project_id, made)


def sum_model_sizes(made: Iterable[str]) -> tuple[int, int]:
    """(files, bytes) of these logged models together."""
    totals = LoggedModelArtifact.objects.filter(model__in=list(made)).aggregate(files=Count("id"), bytes=Sum("size"))
    return totals["files"], totals["bytes"] or 0


def list_empty_experiments(project: Project, cutoff: datetime, gone: Mapping[int, int]) -> list[Experiment]:
    """Deleted experiments without runs once `gone` of them (by experiment) are, and whose models may all go.

    Number 0 stays: MLflow's clients need it.
    """
    experiments = Experiment.objects.filter(project=project, deleted_at__lt=cutoff, number__gt=0).order_by("number")
    return [each for each in experiments if is_empty(each, gone.get(each.pk, 0))]


def is_empty(experiment: Experiment, gone: int = 0) -> bool:
    """Whether an experiment has no runs but `gone` of them, no hold, and no logged model that must stay."""
    if Run.objects.filter(experiment=experiment).count() > gone:
        return False
    if find_hold_reason(experiment.project_id, [("experiment", str(experiment.pk))]):
        return False
    logged_models = LoggedModel.objects.filter(experiment=experiment).select_related("experiment")
    return not find_model_citations(experiment.project_id, {model.pk: model for model in logged_models})


def list_protecting_keys(target: type[models.Model]) -> list[tuple[Any, str]]:
    """(model, field) of every foreign key to `target` that does not go with it."""
    return [
        (model, name)
        for model, name in list_foreign_keys_to(target)
        if model._meta.get_field(name).remote_field.on_delete is not models.CASCADE
    ]


def find_cited(model: Any, field: str, ids: Sequence[str]) -> set[str]:
    """Return those of `ids` that rows of `model` reference."""
    return set(model._base_manager.filter(**{f"{field}__in": ids}).values_list(field, flat=True).distinct())
