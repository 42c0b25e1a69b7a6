"""experiments/*: an MLflow experiment is an experiment of the token's project; its id is the number."""

from __future__ import annotations

from typing import Any

from apps.core.db import fast_sql
from apps.core.policy import is_allowed
from apps.core.request_values import MAX_INT64, parse_int
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.request import MlflowCall
from apps.gateways.mlflow.responses import MlflowError, invalid_parameter_error, missing_resource_error
from apps.ml.experiments import services
from apps.ml.experiments.models import DEFAULT_NAME, DEFAULT_NUMBER, Experiment

TOP = 2**31  # numbers are smaller
COLUMNS = tuple(field.attname for field in Experiment._meta.concrete_fields)


def create(call: MlflowCall) -> dict[str, Any]:
    name = call.require_text("name")
    experiment = services.create_experiment(
        actor=call.actor,
        project=call.project,
        name=name,
        location=call.get_text("artifact_location"),
        tags=call.get_pairs("tags"),
    )
    return {"experiment_id": str(experiment.number)}


def get(call: MlflowCall) -> dict[str, Any]:
    return build_experiment_payload(get_experiment(call, call.require_text("experiment_id")))


def get_by_name(call: MlflowCall) -> dict[str, Any]:
    name = call.require_text("experiment_name")
    if name == DEFAULT_NAME:
        return build_experiment_payload(get_experiment(call, str(DEFAULT_NUMBER)))
    row = Experiment.objects.filter(project_id=call.project_id, name=name).first()
    if row is None:
        raise missing_resource_error(f"Could not find experiment with name '{name}'")
    return build_experiment_payload(row)


def update(call: MlflowCall) -> dict[str, Any]:
    """A new name."""
    experiment_id, name = call.require_text("experiment_id"), call.require_text("new_name")
    row = get_experiment(call, experiment_id)
    if row.deleted_at is not None:  # the reference says so with a 500, at which a client tries for minutes
        raise invalid_parameter_error("Cannot rename a non-active experiment.")
    services.rename_experiment(actor=call.actor, experiment=row, name=name)
    return {}


def delete(call: MlflowCall) -> dict[str, Any]:
    services.delete_experiment(actor=call.actor, experiment=get_experiment(call, call.require_text("experiment_id")))
    return {}


def restore(call: MlflowCall) -> dict[str, Any]:
    services.restore_experiment(actor=call.actor, experiment=get_experiment(call, call.require_text("experiment_id")))
    return {}


def set_tag(call: MlflowCall) -> dict[str, Any]:
    experiment_id, key, value = call.require_text("experiment_id"), call.require_text("key"), call.get_text("value")
    services.set_experiment_tag(actor=call.actor, experiment=get_experiment(call, experiment_id), key=key, value=value)
    return {}


def delete_tag(call: MlflowCall) -> dict[str, Any]:
    experiment_id, key = call.require_text("experiment_id"), call.require_text("key")
    services.delete_experiment_tag(actor=call.actor, experiment=get_experiment(call, experiment_id), key=key)
    return {}


# -- one experiment -------------------------------------------------------------------------------------------------
def get_experiment(call: MlflowCall, experiment_id: str) -> Experiment:
    """The experiment of this id, deleted or not. Default is made when somebody who may record first asks for it."""
    number = parse_experiment_number(experiment_id)
    row = (
        fast_sql.select_first(Experiment, COLUMNS, project_id=call.project_id, number=number) if number < TOP else None
    )
    if row is None and number == DEFAULT_NUMBER:
        row = make_default(call)
    if row is None:
        raise missing_experiment_error(experiment_id)
    return row


def make_default(call: MlflowCall) -> Experiment | None:
    """Default, where the project has none yet and who asks may record; None for who may only read."""
    if not is_allowed(call.actor, "run.track", call):
        return None
    return services.ensure_default(actor=call.actor, project=call.project)


def ensure_default_listed(call: MlflowCall) -> None:
    """Make Default before experiments are listed: MLflow's own server has it from the start."""
    if not Experiment.objects.filter(project_id=call.project_id, number=DEFAULT_NUMBER).exists():
        make_default(call)


def parse_experiment_number(experiment_id: str) -> int:
    if (number := parse_int(experiment_id, -MAX_INT64)) is None:
        raise invalid_parameter_error(
            f"Invalid experiment ID '{experiment_id[:100]}'. Experiment ID must be a valid integer."
        )
    return number


def missing_experiment_error(experiment_id: str) -> MlflowError:
    return missing_resource_error(f"No Experiment with id={experiment_id} exists")


def build_experiment_payload(row: Experiment) -> dict[str, Any]:
    pairs = row.tags.order_by("id").values_list("key", "value")
    return {"experiment": serializers.serialize_experiment(row, pairs)}
