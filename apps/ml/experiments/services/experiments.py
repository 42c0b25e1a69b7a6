"""Every write of experiments: by a worker that needs one, and by clients that keep their own."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.policy import require
from apps.ml.experiments.keys import EXPERIMENT_TAG_LIMIT, check_key, check_length
from apps.ml.experiments.models import DEFAULT_NAME, DEFAULT_NUMBER, Experiment, ExperimentTag, LoggedModel, Run
from apps.ml.experiments.states import ENDED
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from apps.platform.holds.queries import build_held_error, find_held_ids, refuse_held
from deepseek.messages import N_

NAME_LIMIT = 500
LOCATION = "mlflow-artifacts:/"
RUNS_AT_ONCE = 1000  # that a deletion marks in one statement


def ensure_experiment(*, actor: Actor, project: Project, name: str = "") -> Experiment:
    """The experiment called `name` ("": number 0, Default), made if the project has none; two at once make one."""
    require(actor, "run.record", project)
    return find_or_create_experiment(actor, project, name)


def ensure_default(*, actor: Actor, project: Project) -> Experiment:
    """Number 0, where clients record runs for which they named no experiment; made if the project has none."""
    require(actor, "run.track", project)
    return find_or_create_experiment(actor, project, "")


def find_or_create_experiment(actor: Actor, project: Project, name: str) -> Experiment:
    """One that was deleted comes back, with the runs that went with it: a run that goes on belongs to no trash."""
    name = "" if name == DEFAULT_NAME else name  # that name is taken, also before the first run needs it
    lookup = {"name": name} if name else {"number": DEFAULT_NUMBER}
    while True:
        experiment = Experiment.objects.filter(project=project, **lookup).first()
        if experiment is not None and experiment.deleted_at is None:
            return experiment
        try:
            if experiment is not None:
                mark_experiment(actor, experiment, deleted=False)
                continue
            with transaction.atomic():
                return insert_experiment(actor, project, name)
        except (IntegrityError, NotFound):  # somebody else took the name or the number, or restored it: look again
            continue


def insert_experiment(actor: Actor, project: Project, name: str, location: str = "") -> Experiment:
    newest = Experiment.objects.filter(project=project).aggregate(newest=Max("number"))["newest"] or 0
    experiment = Experiment.objects.create(
        project=project,
        number=newest + 1 if name else DEFAULT_NUMBER,  # from 1: 0 is Default, whenever that is made
        name=name or DEFAULT_NAME,
        artifact_location=location,
        created_by=actor.label,
    )
    if experiment.number == DEFAULT_NUMBER:  # made when somebody asks, it is as old as the project in every list
        began = Project.objects.values_list("created_at", flat=True).get(pk=project.pk)
        Experiment.objects.filter(pk=experiment.pk).update(created_at=began)
        experiment.created_at = began
    record(
        actor=actor,
        action="experiment.create",
        obj=experiment,
        after={"name": experiment.name, "number": experiment.number},
    )
    return experiment


def create_experiment(
    *, actor: Actor, project: Project, name: str, location: str = "", tags: Sequence[tuple[str, str]] = ()
) -> Experiment:
    """A new experiment under the next number. `location`: where its files stand among the plane's own; "": by number.

    Raises Conflict (experiment_exists) for a name that is taken, also by a deleted one; Invalid otherwise.
    """
    require(actor, "run.track", project)
    check_name(name)
    check_location(location)
    for key, value in tags:
        check_tag(key, value)
    while True:
        if name == DEFAULT_NAME or Experiment.objects.filter(project=project, name=name).exists():
            raise build_name_conflict(name)
        try:
            with transaction.atomic():
                experiment = insert_experiment(actor, project, name, location)
                ExperimentTag.objects.bulk_create(
                    ExperimentTag(experiment=experiment, key=key, value=value) for key, value in dict(tags).items()
                )
                return experiment
        except IntegrityError:  # somebody else took the name, or the number: look again
            continue


def rename_experiment(*, actor: Actor, experiment: Experiment, name: str) -> None:
    require(actor, "run.track", experiment)
    check_active(experiment)
    check_name(name, "new_name")
    if experiment.number == DEFAULT_NUMBER or name == DEFAULT_NAME:
        raise Invalid(
            "Experiment {default_number} is {default_name!r}, and no other is.",
            default_number=DEFAULT_NUMBER,
            default_name=DEFAULT_NAME,
            field="new_name",
            hint=N_("Make another experiment."),
        )
    try:
        with transaction.atomic():
            rows = Experiment.objects.filter(pk=experiment.pk, deleted_at__isnull=True).exclude(name=name)
            if rows.update(name=name, updated_at=timezone.now()):
                record(
                    actor=actor,
                    action="experiment.rename",
                    obj=experiment,
                    before={"name": experiment.name},
                    after={"name": name},
                )
    except IntegrityError:
        raise build_name_conflict(name) from None


def delete_experiment(*, actor: Actor, experiment: Experiment) -> None:
    """Mark it and its runs deleted: lists leave them out, reads go on, and all can be restored. NotFound when it is;
    Conflict while a job records in it, or where a hold keeps it, or a run or logged model of it.

    Default stays: clients record there without asking.
    """
    require(actor, "run.track", experiment)
    if experiment.number == DEFAULT_NUMBER:
        raise Invalid(
            "Experiment {default_number} cannot be deleted: runs without a name of one go there.",
            default_number=DEFAULT_NUMBER,
        )
    mark_experiment(actor, experiment, deleted=True)


def restore_experiment(*, actor: Actor, experiment: Experiment) -> None:
    """The opposite, with the runs that went with it; those that were deleted before stay so, and those that a purge
    has begun to remove. NotFound when it is not deleted."""
    require(actor, "run.track", experiment)
    mark_experiment(actor, experiment, deleted=False)


def mark_experiment(actor: Actor, experiment: Experiment, *, deleted: bool) -> None:
    now = timezone.now()
    with transaction.atomic():
        locked = Experiment.objects.select_for_update(no_key=True).filter(pk=experiment.pk)
        before = locked.values_list("deleted_at", flat=True).get()
        if (before is not None) == deleted:
            raise NotFound("No Experiment with id={experiment_number} exists", experiment_number=experiment.number)
        if deleted:
            check_no_open_job(experiment)
            refuse_held_contents(experiment)
        locked.update(deleted_at=now if deleted else None, updated_at=now)
        runs = Run.objects.filter(experiment=experiment, deleted_at=None if deleted else before, purging_at=None)
        count = runs.update(deleted_at=now if deleted else None)
        record(
            actor=actor,
            action="experiment.delete" if deleted else "experiment.restore",
            obj=experiment,
            after={"name": experiment.name, "runs": count},
        )


def refuse_held_contents(experiment: Experiment) -> None:
    """Raise Conflict where a hold covers the experiment, one of its runs or one of its logged models."""
    refuse_held(experiment.project_id, ("experiment", str(experiment.pk)))
    for kind, table in (("run", Run), ("loggedmodel", LoggedModel)):
        inside = table.objects.filter(experiment=experiment).values_list("pk", flat=True)
        for why in find_held_ids(experiment.project_id, kind, inside).values():
            raise build_held_error(why)


def set_experiment_tag(*, actor: Actor, experiment: Experiment, key: str, value: str) -> None:
    require(actor, "run.track", experiment)
    check_active(experiment)
    check_tag(key, value)
    with transaction.atomic():
        experiment.tags.set_value(key, value)
        Experiment.objects.filter(pk=experiment.pk).update(updated_at=timezone.now())
        record(
            actor=actor,
            action="experiment.tag",
            obj=experiment,
            after={"key": key},
            digests={"value": sha256_hex(value)},
        )


def delete_experiment_tag(*, actor: Actor, experiment: Experiment, key: str) -> None:
    require(actor, "run.track", experiment)
    check_active(experiment)
    with transaction.atomic():
        if not experiment.tags.delete_key(key):
            raise NotFound(
                "No tag with name: {key} in experiment with id {experiment_number}",
                key=key,
                experiment_number=experiment.number,
            )
        Experiment.objects.filter(pk=experiment.pk).update(updated_at=timezone.now())
        record(actor=actor, action="experiment.untag", obj=experiment, before={"key": key})


# -- checks ---------------------------------------------------------------------------------------------------------
def check_name(name: str, field: str = "name") -> None:
    if not name or "\x00" in name:
        raise Invalid("An experiment needs a name.", field=field, limit=f"1 to {NAME_LIMIT} characters")
    check_length(name, field, NAME_LIMIT)


def check_location(location: str) -> None:
    """Files are kept by the plane alone: a location elsewhere would have clients send them past its door."""
    if not location:
        return
    check_length(location, "artifact_location", NAME_LIMIT)
    if "#" in location or ";" in location:
        raise Invalid("'artifact_location' URL can't include fragments or params.", field="artifact_location")
    path = location.removeprefix(LOCATION)
    if path == location or not path.strip("/") or path.startswith("/") or ".." in path.split("/") or "\x00" in path:
        raise Invalid(
            "'artifact_location' must be {location}<path>: files are kept by the plane.",
            location=LOCATION,
            field="artifact_location",
            hint=N_("Leave it out."),
        )


def check_tag(key: str, value: str) -> None:
    check_key(key)
    check_length(value, "value", EXPERIMENT_TAG_LIMIT)


def check_active(experiment: Experiment) -> None:
    if experiment.deleted_at is not None:
        raise Invalid(
            "The experiment {experiment_number} must be in the 'active' state. Current state is deleted.",
            experiment_number=experiment.number,
            code="experiment_deleted",
            field="experiment_id",
        )


def check_no_open_job(experiment: Experiment) -> None:
    rows = Run.objects.filter(experiment=experiment, job__isnull=False, deleted_at=None).exclude(state__in=ENDED)
    job = rows.values_list("job", flat=True).first()
    if job is not None:
        raise Conflict(
            "Job {job} still records in the experiment {experiment_number}.",
            job=job,
            experiment_number=experiment.number,
            code="job_goes_on",
            field="experiment_id",
            hint=N_("Wait for its end, or cancel it."),
        )


def build_name_conflict(name: str) -> Conflict:
    return Conflict("Experiment(name={name}) already exists.", name=name, code="experiment_exists", field="name")
