"""runs/*: an MLflow run is a run of the plane that no job records. Clients also read and tag the runs of jobs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.http import HttpResponse

from apps.core.db import fast_sql
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.experiments import get_experiment
from apps.gateways.mlflow.request import (
    MlflowCall,
    get_text_member,
    missing_parameter_error,
    mistyped_parameter_error,
    parse_float,
    parse_int64,
)
from apps.gateways.mlflow.responses import MlflowError, invalid_parameter_error, missing_resource_error
from apps.gateways.mlflow.run_json_sql import iter_run_json
from apps.ml.experiments import services
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.models import Run
from apps.ml.experiments.search.runs import get_run_row
from apps.ml.experiments.services import DatasetInput, ModelPoint, SentPoint
from apps.ml.experiments.services.metrics import EARLIEST, LATEST, convert_milliseconds

STATES = {name: state for state, name in serializers.STATUS.items()}
STATUS_BY_NUMBER = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # as the protocol counts them
BATCH_LIMITS = {"metrics": 1000, "params": 100, "tags": 100}  # of a batch
BATCH_TOTAL_LIMIT = 1000
# What is told of a run, and what its writes look at.
RUN_FIELDS = {*serializers.RUN_COLUMNS, "project_id", "experiment_id", "purging_at", "metrics_digest", "metrics_count"}
COLUMNS = tuple(field.attname for field in Run._meta.concrete_fields if field.attname in RUN_FIELDS)
EXPERIMENT_COLUMNS = ("experiment__number", "experiment__artifact_location")


# -- its life -------------------------------------------------------------------------------------------------------
def create(call: MlflowCall) -> dict[str, Any]:
    experiment_id, name = call.get_text("experiment_id"), call.get_text("run_name")
    started = call.get_integer("start_time", 0)
    experiment = get_experiment(call, experiment_id or "0")
    tags = call.get_pairs("tags")
    run = services.create_run(
        actor=call.actor,
        experiment=experiment,
        name=name,
        started_at=parse_time("start_time", started) if started else None,
        client_user=call.get_text("user_id"),
        tags=tags,
    )
    info = serializers.serialize_run_info(
        (
            run.pk,
            run.name,
            run.state,
            run.started_at,
            None,
            None,
            run.client_user,
            run.created_by,
            None,
            experiment.number,
            experiment.artifact_location,
        )
    )
    all_tags = {**dict(tags), NAME_TAG: run.name}
    return {"run": {"info": info, "data": {"tags": serializers.serialize_tags(all_tags.items())}, "inputs": {}}}


def get(call: MlflowCall) -> HttpResponse:
    run_id = call.get_run_id()
    row = get_run_row(call.project_id, run_id)
    if row is None:
        raise missing_run_error(run_id)
    return HttpResponse(f'{{"run":{next(iter_run_json([row]))}}}', content_type="application/json")


def update(call: MlflowCall) -> dict[str, Any]:
    run_id = call.get_run_id()
    status, ended, name = call.get_value("status"), call.get_integer("end_time", 0), call.get_text("run_name")
    row, place = get_run_and_experiment(call, run_id)
    run = services.update_run(
        actor=call.actor,
        run=row,
        state=parse_status(status),
        ended_at=parse_time("end_time", ended) if ended else None,
        name=name,
    )
    return {
        "run_info": serializers.serialize_run_info((*(getattr(run, name) for name in serializers.RUN_COLUMNS), *place))
    }


def delete(call: MlflowCall) -> dict[str, Any]:
    services.delete_run(actor=call.actor, run=get_writable_run(call, call.get_run_id()))
    return {}


def restore(call: MlflowCall) -> dict[str, Any]:
    services.restore_run(actor=call.actor, run=get_writable_run(call, call.get_run_id()))
    return {}


# -- what it measures -----------------------------------------------------------------------------------------------
def log_metric(call: MlflowCall) -> dict[str, Any]:
    run_id, item = call.get_run_id(), call.parameters
    points, of_models = parse_points([item], "")
    if of_models:
        services.log_batch(
            actor=call.actor, project=call.project, run_id=run_id, points=points, of_models=of_models, listed=False
        )
    else:
        services.log_points(actor=call.actor, project_id=call.project_id, run_id=run_id, points=points)
    return {}


def log_parameter(call: MlflowCall) -> dict[str, Any]:
    run_id, key, value = call.get_run_id(), call.require_text("key"), call.get_text("value")
    services.log_batch(actor=call.actor, project=call.project, run_id=run_id, params=[(key, value)], listed=False)
    return {}


def log_batch(call: MlflowCall) -> dict[str, Any]:
    run_id = call.get_run_id()
    metrics, params, tags = call.get_objects("metrics"), call.get_pairs("params"), call.get_pairs("tags")
    check_sizes({"metrics": len(metrics), "params": len(params), "tags": len(tags)})
    points, of_models = parse_points(metrics, "metrics")
    for name, pairs in (("params", params), ("tags", tags)):
        for index, (key, _value) in enumerate(pairs):
            if not key:
                raise missing_parameter_error(f"{name}[{index}].key")
    keys = [key for key, _value in params]
    if len(set(keys)) < len(keys):
        twice = sorted(key for key, times in Counter(keys).items() if times > 1)
        raise invalid_parameter_error(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request contains only one param"
            " value per param key."
        )
    if not (params or tags or of_models) and points:
        services.log_points(actor=call.actor, project_id=call.project_id, run_id=run_id, points=points, listed=True)
        return {}
    services.log_batch(
        actor=call.actor,
        project=call.project,
        run_id=run_id,
        points=points,
        params=params,
        tags=tags,
        of_models=of_models,
    )
    return {}


def set_tag(call: MlflowCall) -> dict[str, Any]:
    run_id, key, value = call.get_run_id(), call.require_text("key"), call.get_text("value")
    services.log_batch(actor=call.actor, project=call.project, run_id=run_id, tags=[(key, value)], listed=False)
    return {}


def delete_tag(call: MlflowCall) -> dict[str, Any]:
    run_id, key = call.get_run_id(), call.require_text("key")
    services.delete_tag(actor=call.actor, project=call.project, run_id=run_id, key=key)
    return {}


# -- what it reads and makes ----------------------------------------------------------------------------------------
def log_inputs(call: MlflowCall) -> dict[str, Any]:
    run_id = call.get_run_id()
    datasets = [parse_dataset(item) for item in call.get_objects("datasets")]
    models = [
        model_id for item in call.get_objects("models") if (model_id := get_text_member("models", item, "model_id"))
    ]
    services.log_inputs(actor=call.actor, project=call.project, run_id=run_id, datasets=datasets, models=models)
    return {}


def log_outputs(call: MlflowCall) -> dict[str, Any]:
    run_id = call.get_run_id()
    models = [
        (model_id, parse_int64("models.step", item.get("step") or 0))
        for item in call.get_objects("models")
        if (model_id := get_text_member("models", item, "model_id"))
    ]
    services.log_outputs(actor=call.actor, project=call.project, run_id=run_id, models=models)
    return {}


def log_model(call: MlflowCall) -> dict[str, Any]:
    run_id, text = call.get_run_id(), call.require_text("model_json")
    services.log_model_info(actor=call.actor, project=call.project, run_id=run_id, text=text)
    return {}


def parse_dataset(item: dict[str, Any]) -> DatasetInput:
    about, tags = item.get("dataset") or {}, item.get("tags") or []
    if not isinstance(about, dict) or not isinstance(tags, list) or not all(isinstance(tag, dict) for tag in tags):
        raise mistyped_parameter_error("datasets", item)
    texts = {name: get_text_member("datasets", about, name) for name in DATASET}
    pairs = tuple((get_text_member("datasets", tag, "key"), get_text_member("datasets", tag, "value")) for tag in tags)
    return DatasetInput(**texts, tags=pairs)


DATASET = ("name", "digest", "source_type", "source", "schema", "profile")


# -- parts ----------------------------------------------------------------------------------------------------------
def parse_points(items: list[dict[str, Any]], list_name: str) -> tuple[list[SentPoint], list[ModelPoint]]:
    """The points of a body; of those that were measured of a logged model, that too. `list_name`: where they stand."""
    points, of_models = [], []
    for index, item in enumerate(items):
        key, value, at, step = item.get("key"), item.get("value"), item.get("timestamp"), item.get("step", 0)
        if not (type(key) is str and key and type(value) is float and type(at) is int and type(step) is int):
            key, value, at, step = parse_point(item, f"{list_name}[{index}]." if list_name else "")
        point = SentPoint(key, value, at, step)
        points.append(point)
        if item.get("model_id"):
            about = [get_text_member("metrics", item, name) for name in ("model_id", "dataset_name", "dataset_digest")]
            of_models.append(ModelPoint(point, *about))
    return points, of_models


def parse_point(item: dict[str, Any], prefix: str) -> tuple[str, float, int, int]:
    """A point whose members are not all of their types: numbers may be texts, and the step may be left out."""
    key = item.get("key")
    for name in ("key", "value", "timestamp"):
        if item.get(name) is None or item[name] == "":
            raise missing_parameter_error(prefix + name)
    if type(key) is not str:
        raise mistyped_parameter_error(f"{prefix}key", key)
    value = parse_float(f"{prefix}value", item["value"])
    return (
        key,
        value,
        parse_int64(f"{prefix}timestamp", item["timestamp"]),
        parse_int64(f"{prefix}step", item.get("step") or 0),
    )


def check_sizes(sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if size > BATCH_LIMITS[name]:
            raise too_many_items_error(BATCH_LIMITS[name], size, name)
    if sum(sizes.values()) > BATCH_TOTAL_LIMIT:
        raise too_many_items_error(BATCH_TOTAL_LIMIT, sum(sizes.values()), "metrics, params, and tags")


def too_many_items_error(limit: int, size: int, what: str) -> MlflowError:
    return invalid_parameter_error(
        f"A batch logging request can contain at most {limit} {what}. Got {size} {what}. Please split up {what} across"
        " multiple requests and try again."
    )


def get_writable_run(call: MlflowCall, run_id: str) -> Run:
    """A run of the project as its writes need it."""
    return get_run_and_experiment(call, run_id)[0]


def get_run_and_experiment(call: MlflowCall, run_id: str) -> tuple[Run, tuple[int, str]]:
    """The same, with the number and the artifact location of its experiment."""
    rows = fast_sql.select(Run, (*COLUMNS, *EXPERIMENT_COLUMNS), id=run_id, project_id=call.project_id)
    if not rows:
        raise missing_run_error(run_id)
    *own, number, location = rows[0]
    return Run.from_db(DEFAULT_DB_ALIAS, COLUMNS, own), (number, location)


def missing_run_error(run_id: str) -> MlflowError:
    return missing_resource_error(f"Run with id={run_id} not found")


def parse_status(status: Any) -> str:
    """The state that a status names, by its word or number; "" for none, and for what no protocol knows, as MLflow."""
    if type(status) is int and 0 < status < len(STATUS_BY_NUMBER):
        status = STATUS_BY_NUMBER[status]
    return STATES.get(status, "") if isinstance(status, str) else ""


def parse_time(name: str, milliseconds: int) -> Any:
    if not EARLIEST <= milliseconds <= LATEST:
        raise invalid_parameter_error(
            f"Invalid value {milliseconds} for parameter '{name}' supplied: it counts milliseconds since 1970."
        )
    return convert_milliseconds(milliseconds)
