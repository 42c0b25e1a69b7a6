"""Runs in runs: a parent that stands for many, as a sweep's, and its children, by the tag of MLflow's clients."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.ml.experiments.keys import PARAM_LIMIT, PARENT_TAG
from apps.ml.experiments.models import Run, RunParam, RunTag
from apps.ml.experiments.services.experiments import find_or_create_experiment
from apps.ml.experiments.services.runs import move_run
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record


def open_parent_run(
    *, actor: Actor, project: Project, experiment: str, name: str, kind: str, params: Mapping[str, str]
) -> Run:
    """A run that stands for many; no job records it."""
    require(actor, "run.group", project)
    with transaction.atomic():
        run = Run.objects.create(
            project=project,
            experiment=find_or_create_experiment(actor, project, experiment),
            name=name,
            kind=kind,
            created_by=actor.label,
        )
        RunParam.objects.bulk_create(
            RunParam(run=run, key=key, value=value[:PARAM_LIMIT]) for key, value in params.items()
        )
        record(actor=actor, action="run.create", obj=run, after={"name": run.name, "kind": kind})
    return run


def close_parent_run(*, actor: Actor, run: Run, state: str) -> None:
    """End it with its sweep; one that has ended already stays as it is."""
    require(actor, "run.group", run)
    run.refresh_from_db()
    if not run.ended and run.deleted_at is None:
        move_run(actor, run, state, timezone.now())


def nest_run(*, actor: Actor, run: Run, parent: Run) -> None:
    """Make a job's run a child of `parent`; again changes nothing."""
    require(actor, "run.record", run)
    RunTag.objects.filter(run=run, key=PARENT_TAG).exclude(value=parent.pk).delete()
    if not RunTag.objects.filter(run=run, key=PARENT_TAG).exists():
        run.tags.set_value(PARENT_TAG, parent.pk)
