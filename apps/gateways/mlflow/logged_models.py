"""logged-models/*: folders of files in MLflow's format, which may become versions of the registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.experiments import get_experiment
from apps.gateways.mlflow.files import list_spellings, serialize_entries
from apps.gateways.mlflow.request import MlflowCall, mistyped_parameter_error
from apps.gateways.mlflow.responses import missing_resource_error
from apps.ml.experiments.files import tree
from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.experiments.services import logged_models as services

STATES = services.STATES
STATUS_NAMES = {state: word for word, state in STATES.items()}


def create(call: MlflowCall) -> dict[str, Any]:
    """A name of the plane's own where none was given."""
    experiment = get_experiment(call, call.require_text("experiment_id"))
    name, run_id = call.get_text("name") or f"model-{uuid4().hex[:8]}", call.get_text("source_run_id")
    params, tags = dict(call.get_pairs("params")), dict(call.get_pairs("tags"))
    model = services.create_logged_model(
        actor=call.actor,
        project=call.project,
        experiment=experiment,
        name=name,
        model_type=call.get_text("model_type"),
        source_run=get_source_run(call, run_id) if run_id else None,
        params=params,
        tags=tags,
    )
    return {"model": serialize_logged_model(model, params=sorted(params.items()), tags=tags.items())}


def get(call: MlflowCall, model_id: str) -> dict[str, Any]:
    return build_logged_model_payload(get_logged_model(call, model_id))


def finish(call: MlflowCall, model_id: str) -> dict[str, Any]:
    target_id, status = call.require_text("model_id"), call.require_text("status")
    if status not in STATES:
        raise mistyped_parameter_error("status", status)
    return build_logged_model_payload(
        services.finish_logged_model(actor=call.actor, model=get_logged_model(call, target_id), state=STATES[status])
    )


def delete(call: MlflowCall, model_id: str) -> dict[str, Any]:
    """Deleted twice is deleted once."""
    row = LoggedModel.objects.filter(pk=model_id, project_id=call.project_id).first()
    if row is None:
        raise missing_logged_model_error(model_id)
    services.delete_logged_model(actor=call.actor, model=row)
    return {}


def add_params(call: MlflowCall, model_id: str) -> dict[str, Any]:
    target_id, params = call.require_text("model_id"), dict(call.get_pairs("params"))
    services.add_logged_model_params(actor=call.actor, model=get_logged_model(call, target_id), params=params)
    return {}


def set_tags(call: MlflowCall, model_id: str) -> dict[str, Any]:
    tags = dict(call.get_pairs("tags"))
    services.tag_logged_model(actor=call.actor, model=get_logged_model(call, model_id), tags=tags)
    return {}


def delete_tag(call: MlflowCall, model_id: str, key: str) -> dict[str, Any]:
    services.delete_logged_model_tag(actor=call.actor, model=get_logged_model(call, model_id), key=key)
    return {}


def list_files(call: MlflowCall, model_id: str) -> dict[str, Any]:
    """The names in a folder, by their paths from the root of the model."""
    row = get_logged_model(call, model_id)
    rows = tree.list_files(row)
    for folder in list_spellings(call.get_text("artifact_directory_path")):
        files = serialize_entries(tree.list_entries(rows, folder), folder)
        if files:
            break
    return {"root_uri": tree.get_artifact_uri(row), **({"files": files} if files else {})}


# -- rows and their shape -------------------------------------------------------------------------------------------
def get_logged_model(call: MlflowCall, model_id: str) -> LoggedModel:
    rows = LoggedModel.objects.select_related("experiment")
    row = rows.filter(pk=model_id, project_id=call.project_id, deleted_at=None).first()
    if row is None:
        raise missing_logged_model_error(model_id)
    row.project = call.project
    return row


def missing_logged_model_error(model_id: str) -> Exception:
    return missing_resource_error(f"Logged model with ID '{model_id}' not found.")


def get_source_run(call: MlflowCall, run_id: str) -> Run:
    row = Run.objects.only("name", "project").filter(pk=run_id, project_id=call.project_id).first()
    if row is None:
        raise missing_resource_error(f"Run with id={run_id} not found")
    return row


def build_logged_model_payload(row: LoggedModel) -> dict[str, Any]:
    """A logged model whole; three queries."""
    return {
        "model": serialize_logged_model(
            row,
            params=row.params.order_by("key").values_list("key", "value"),
            tags=row.tags.order_by("pk").values_list("key", "value"),
            metrics=row.metrics.order_by("key", "pk"),
        )
    }


def serialize_logged_model(
    row: LoggedModel, *, params: Iterable[Any] = (), tags: Iterable[Any] = (), metrics: Iterable[Any] = ()
) -> dict[str, Any]:
    info: dict[str, Any] = {
        "model_id": row.pk,
        "experiment_id": str(row.experiment.number),
        "name": row.name,
        "creation_timestamp_ms": serializers.to_milliseconds(row.created_at),
        "last_updated_timestamp_ms": serializers.to_milliseconds(row.updated_at),
        "artifact_uri": tree.get_artifact_uri(row),
        "status": STATUS_NAMES[services.LoggedModelState(row.state)],
        "model_type": row.model_type,
        "source_run_id": row.source_run_id or "",
    }
    if pairs := serializers.serialize_tags(tags):
        info["tags"] = pairs
    data: dict[str, Any] = {}
    if pairs := serializers.serialize_tags(params):
        data["params"] = pairs
    if points := [serialize_model_metric(metric) for metric in metrics]:
        data["metrics"] = points
    return {"info": info, "data": data}


def serialize_model_metric(metric: Any) -> dict[str, Any]:
    payload = {
        "key": metric.key,
        "value": "NaN" if metric.is_nan else metric.value,
        "timestamp": serializers.to_milliseconds(metric.at),
        "step": metric.step,
        "model_id": metric.model_id,
        "run_id": metric.run_id,
    }
    if metric.dataset_name:
        payload |= {"dataset_name": metric.dataset_name, "dataset_digest": metric.dataset_digest}
    return payload
