"""experiments/*: an MLflow experiment is an experiment of the token's project; its id is the number."""

from __future__ import annotations

import re
from typing import Any

from apps.core.db import fast_sql
from apps.core.policy import allows
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.request import Ask
from apps.gateways.mlflow.responses import MlflowError, absent, wrong
from apps.ml.experiments import services
from apps.ml.experiments.models import DEFAULT_NAME, DEFAULT_NUMBER, Experiment

NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
TOP = 2**31  # numbers are smaller
COLUMNS = tuple(field.attname for field in Experiment._meta.concrete_fields)


def create(ask: Ask) -> dict[str, Any]:
    name = ask.required("name")
    made = services.create_experiment(
        actor=ask.actor, project=ask.project, name=name, location=ask.text("artifact_location"), tags=ask.pairs("tags")
    )
    return {"experiment_id": str(made.number)}


def get(ask: Ask) -> dict[str, Any]:
    return told(found(ask, ask.required("experiment_id")))


def get_by_name(ask: Ask) -> dict[str, Any]:
    name = ask.required("experiment_name")
    if name == DEFAULT_NAME:
        return told(found(ask, str(DEFAULT_NUMBER)))
    row = Experiment.objects.filter(project_id=ask.project_id, name=name).first()
    if row is None:
        raise absent(f"Could not find experiment with name '{name}'")
    return told(row)


def update(ask: Ask) -> dict[str, Any]:
    """A new name."""
    experiment_id, name = ask.required("experiment_id"), ask.required("new_name")
    row = found(ask, experiment_id)
    if row.deleted_at is not None:  # the reference says so with a 500, at which a client tries for minutes
        raise wrong("Cannot rename a non-active experiment.")
    services.rename_experiment(actor=ask.actor, experiment=row, name=name)
    return {}


def delete(ask: Ask) -> dict[str, Any]:
    services.delete_experiment(actor=ask.actor, experiment=found(ask, ask.required("experiment_id")))
    return {}


def restore(ask: Ask) -> dict[str, Any]:
    services.restore_experiment(actor=ask.actor, experiment=found(ask, ask.required("experiment_id")))
    return {}


def set_tag(ask: Ask) -> dict[str, Any]:
    experiment_id, key, value = ask.required("experiment_id"), ask.required("key"), ask.text("value")
    services.set_experiment_tag(actor=ask.actor, experiment=found(ask, experiment_id), key=key, value=value)
    return {}


def delete_tag(ask: Ask) -> dict[str, Any]:
    experiment_id, key = ask.required("experiment_id"), ask.required("key")
    services.delete_experiment_tag(actor=ask.actor, experiment=found(ask, experiment_id), key=key)
    return {}


# -- one experiment -------------------------------------------------------------------------------------------------
def found(ask: Ask, experiment_id: str) -> Experiment:
    """The experiment of this id, deleted or not. Default is made when somebody who may record first asks for it."""
    number = number_of(experiment_id)
    row = fast_sql.first(Experiment, COLUMNS, project_id=ask.project_id, number=number) if number < TOP else None
    if row is None and number == DEFAULT_NUMBER:
        row = make_default(ask)
    if row is None:
        raise no_such(experiment_id)
    return row


def make_default(ask: Ask) -> Experiment | None:
    """Default, where the project has none yet and who asks may record; None for who may only read."""
    if not allows(ask.actor, "run.track", ask):
        return None
    return services.ensure_default(actor=ask.actor, project=ask.project)


def ensure_default_listed(ask: Ask) -> None:
    """Make Default before experiments are listed: MLflow's own server has it from the start."""
    if fast_sql.first(Experiment, ("id",), project_id=ask.project_id, number=DEFAULT_NUMBER) is None:
        make_default(ask)


def number_of(experiment_id: str) -> int:
    if not NUMBER.fullmatch(experiment_id):
        raise wrong(f"Invalid experiment ID '{experiment_id[:100]}'. Experiment ID must be a valid integer.")
    return int(experiment_id)


def no_such(experiment_id: str) -> MlflowError:
    return absent(f"No Experiment with id={experiment_id} exists")


def told(row: Experiment) -> dict[str, Any]:
    pairs = row.tags.order_by("id").values_list("key", "value")
    return {"experiment": serializers.experiment(row, pairs)}
