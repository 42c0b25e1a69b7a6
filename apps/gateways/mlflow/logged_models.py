"""logged-models/*: folders of files in MLflow's format, which may become versions of the registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.experiments import found as experiment_found
from apps.gateways.mlflow.files import listed, spellings
from apps.gateways.mlflow.request import Ask, mistyped
from apps.gateways.mlflow.responses import absent
from apps.ml.experiments.files import tree
from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.experiments.services import logged_models as services

STATES = services.STATES
WORDS = {state: word for word, state in STATES.items()}


def create(ask: Ask) -> dict[str, Any]:
    """A name of the plane's own where none was given."""
    experiment = experiment_found(ask, ask.required("experiment_id"))
    name, run_id = ask.text("name") or f"model-{uuid4().hex[:8]}", ask.text("source_run_id")
    params, tags = dict(ask.pairs("params")), dict(ask.pairs("tags"))
    made = services.create_logged_model(
        actor=ask.actor,
        project=ask.project,
        experiment=experiment,
        name=name,
        model_type=ask.text("model_type"),
        source_run=run_found(ask, run_id) if run_id else None,
        params=params,
        tags=tags,
    )
    return {"model": shape(made, params=sorted(params.items()), tags=tags.items())}


def get(ask: Ask, model_id: str) -> dict[str, Any]:
    return told(found(ask, model_id))


def finish(ask: Ask, model_id: str) -> dict[str, Any]:
    named, word = ask.required("model_id"), ask.required("status")
    if word not in STATES:
        raise mistyped("status", word)
    return told(services.finish_logged_model(actor=ask.actor, model=found(ask, named), state=STATES[word]))


def delete(ask: Ask, model_id: str) -> dict[str, Any]:
    """Deleted twice is deleted once."""
    row = LoggedModel.objects.filter(pk=model_id, project_id=ask.project_id).first()
    if row is None:
        raise no_such(model_id)
    services.delete_logged_model(actor=ask.actor, model=row)
    return {}


def add_params(ask: Ask, model_id: str) -> dict[str, Any]:
    named, params = ask.required("model_id"), dict(ask.pairs("params"))
    services.add_logged_model_params(actor=ask.actor, model=found(ask, named), params=params)
    return {}


def set_tags(ask: Ask, model_id: str) -> dict[str, Any]:
    tags = dict(ask.pairs("tags"))
    services.tag_logged_model(actor=ask.actor, model=found(ask, model_id), tags=tags)
    return {}


def delete_tag(ask: Ask, model_id: str, key: str) -> dict[str, Any]:
    services.untag_logged_model(actor=ask.actor, model=found(ask, model_id), key=key)
    return {}


def list_files(ask: Ask, model_id: str) -> dict[str, Any]:
    """The names in a folder, by their paths from the root of the model."""
    row = found(ask, model_id)
    rows = tree.files_of(row)
    for folder in spellings(ask.text("artifact_directory_path")):
        files = listed(tree.entries_of(rows, folder), folder)
        if files:
            break
    return {"root_uri": tree.address_of(row), **({"files": files} if files else {})}


# -- rows and their shape -------------------------------------------------------------------------------------------
def found(ask: Ask, model_id: str) -> LoggedModel:
    rows = LoggedModel.objects.select_related("experiment")
    row = rows.filter(pk=model_id, project_id=ask.project_id, deleted_at=None).first()
    if row is None:
        raise no_such(model_id)
    row.project = ask.project
    return row


def no_such(model_id: str) -> Exception:
    return absent(f"Logged model with ID '{model_id}' not found.")


def run_found(ask: Ask, run_id: str) -> Run:
    row = Run.objects.only("name", "project").filter(pk=run_id, project_id=ask.project_id).first()
    if row is None:
        raise absent(f"Run with id={run_id} not found")
    return row


def told(row: LoggedModel) -> dict[str, Any]:
    """A logged model whole; three queries."""
    return {
        "model": shape(
            row,
            params=row.params.order_by("key").values_list("key", "value"),
            tags=row.tags.order_by("pk").values_list("key", "value"),
            metrics=row.metrics.order_by("key", "pk"),
        )
    }


def shape(
    row: LoggedModel, *, params: Iterable[Any] = (), tags: Iterable[Any] = (), metrics: Iterable[Any] = ()
) -> dict[str, Any]:
    info: dict[str, Any] = {
        "model_id": row.pk,
        "experiment_id": str(row.experiment.number),
        "name": row.name,
        "creation_timestamp_ms": serializers.milliseconds(row.created_at),
        "last_updated_timestamp_ms": serializers.milliseconds(row.updated_at),
        "artifact_uri": tree.address_of(row),
        "status": WORDS[services.LoggedModelState(row.state)],
        "model_type": row.model_type,
        "source_run_id": row.source_run_id or "",
    }
    if pairs := serializers.tags(tags):
        info["tags"] = pairs
    data: dict[str, Any] = {}
    if pairs := serializers.tags(params):
        data["params"] = pairs
    if points := [point(one) for one in metrics]:
        data["metrics"] = points
    return {"info": info, "data": data}


def point(one: Any) -> dict[str, Any]:
    shown = {
        "key": one.key,
        "value": "NaN" if one.is_nan else one.value,
        "timestamp": serializers.milliseconds(one.at),
        "step": one.step,
        "model_id": one.model_id,
        "run_id": one.run_id,
    }
    if one.dataset_name:
        shown |= {"dataset_name": one.dataset_name, "dataset_digest": one.dataset_digest}
    return shown
