"""runs/*: an MLflow run is a run of the plane that no job records. Jobs' runs are told too; clients may tag them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.http import HttpResponse

from apps.core.db import fast_sql
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.experiments import found as found_experiment
from apps.gateways.mlflow.request import Ask, decimal, member, missing, mistyped, whole
from apps.gateways.mlflow.responses import MlflowError, absent, wrong
from apps.gateways.mlflow.run_json_sql import told_runs
from apps.ml.experiments import services
from apps.ml.experiments.keys import NAME_TAG
from apps.ml.experiments.models import Run
from apps.ml.experiments.search.runs import one_run
from apps.ml.experiments.services import Dataset, ForModel, Sent
from apps.ml.experiments.services.metrics import EARLIEST, LATEST, moment

STATES = {name: state for state, name in serializers.STATUS.items()}
NUMBERED = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # as the protocol counts them
MOST = {"metrics": 1000, "params": 100, "tags": 100}  # of a batch
ALL = 1000
# What is told of a run, and what its writes look at.
NEEDED = {*serializers.OWN, "project_id", "experiment_id", "purging_at", "metrics_digest", "metrics_count"}
COLUMNS = tuple(field.attname for field in Run._meta.concrete_fields if field.attname in NEEDED)
PLACE = ("experiment__number", "experiment__artifact_location")


# -- its life -------------------------------------------------------------------------------------------------------
def create(ask: Ask) -> dict[str, Any]:
    experiment_id, name = ask.text("experiment_id"), ask.text("run_name")
    started = ask.integer("start_time", 0)
    experiment = found_experiment(ask, experiment_id or "0")
    given = ask.pairs("tags")
    run = services.create_run(
        actor=ask.actor,
        experiment=experiment,
        name=name,
        started_at=time_of("start_time", started) if started else None,
        client_user=ask.text("user_id"),
        tags=given,
    )
    info = serializers.run_info(
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
    told = {**dict(given), NAME_TAG: run.name}
    return {"run": {"info": info, "data": {"tags": serializers.tags(told.items())}, "inputs": {}}}


def get(ask: Ask) -> HttpResponse:
    run_id = ask.run_id()
    row = one_run(ask.project_id, run_id)
    if row is None:
        raise no_such(run_id)
    return HttpResponse(f'{{"run":{next(told_runs([row]))}}}', content_type="application/json")


def update(ask: Ask) -> dict[str, Any]:
    run_id = ask.run_id()
    status, ended, name = ask.value("status"), ask.integer("end_time", 0), ask.text("run_name")
    row, place = found_in_place(ask, run_id)
    run = services.update_run(
        actor=ask.actor,
        run=row,
        state=state_of(status),
        ended_at=time_of("end_time", ended) if ended else None,
        name=name,
    )
    return {"run_info": serializers.run_info((*(getattr(run, name) for name in serializers.OWN), *place))}


def delete(ask: Ask) -> dict[str, Any]:
    services.delete_run(actor=ask.actor, run=found(ask, ask.run_id()))
    return {}


def restore(ask: Ask) -> dict[str, Any]:
    services.restore_run(actor=ask.actor, run=found(ask, ask.run_id()))
    return {}


# -- what it measures -----------------------------------------------------------------------------------------------
def log_metric(ask: Ask) -> dict[str, Any]:
    run_id, item = ask.run_id(), ask.given
    points, of_models = points_in([item], "")
    if of_models:
        services.log_batch(
            actor=ask.actor, project=ask.project, run_id=run_id, points=points, of_models=of_models, listed=False
        )
    else:
        services.log_points(actor=ask.actor, project_id=ask.project_id, run_id=run_id, points=points)
    return {}


def log_parameter(ask: Ask) -> dict[str, Any]:
    run_id, key, value = ask.run_id(), ask.required("key"), ask.text("value")
    services.log_batch(actor=ask.actor, project=ask.project, run_id=run_id, params=[(key, value)], listed=False)
    return {}


def log_batch(ask: Ask) -> dict[str, Any]:
    run_id = ask.run_id()
    metrics, params, tags = ask.items("metrics"), ask.pairs("params"), ask.pairs("tags")
    check_sizes({"metrics": len(metrics), "params": len(params), "tags": len(tags)})
    points, of_models = points_in(metrics, "metrics")
    for name, pairs in (("params", params), ("tags", tags)):
        for index, (key, _value) in enumerate(pairs):
            if not key:
                raise missing(f"{name}[{index}].key")
    keys = [key for key, _value in params]
    if len(set(keys)) < len(keys):
        twice = sorted(key for key, times in Counter(keys).items() if times > 1)
        raise wrong(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request contains only one param"
            " value per param key."
        )
    if not (params or tags or of_models) and points:
        services.log_points(actor=ask.actor, project_id=ask.project_id, run_id=run_id, points=points, listed=True)
        return {}
    services.log_batch(
        actor=ask.actor,
        project=ask.project,
        run_id=run_id,
        points=points,
        params=params,
        tags=tags,
        of_models=of_models,
    )
    return {}


def set_tag(ask: Ask) -> dict[str, Any]:
    run_id, key, value = ask.run_id(), ask.required("key"), ask.text("value")
    services.log_batch(actor=ask.actor, project=ask.project, run_id=run_id, tags=[(key, value)], listed=False)
    return {}


def delete_tag(ask: Ask) -> dict[str, Any]:
    run_id, key = ask.run_id(), ask.required("key")
    services.delete_tag(actor=ask.actor, project=ask.project, run_id=run_id, key=key)
    return {}


# -- what it reads and makes ----------------------------------------------------------------------------------------
def log_inputs(ask: Ask) -> dict[str, Any]:
    run_id = ask.run_id()
    datasets = [dataset_of(item) for item in ask.items("datasets")]
    models = [model_id for item in ask.items("models") if (model_id := member("models", item, "model_id"))]
    services.log_inputs(actor=ask.actor, project=ask.project, run_id=run_id, datasets=datasets, models=models)
    return {}


def log_outputs(ask: Ask) -> dict[str, Any]:
    run_id = ask.run_id()
    models = [
        (model_id, whole("models.step", item.get("step") or 0))
        for item in ask.items("models")
        if (model_id := member("models", item, "model_id"))
    ]
    services.log_outputs(actor=ask.actor, project=ask.project, run_id=run_id, models=models)
    return {}


def log_model(ask: Ask) -> dict[str, Any]:
    run_id, text = ask.run_id(), ask.required("model_json")
    services.log_model_info(actor=ask.actor, project=ask.project, run_id=run_id, text=text)
    return {}


def dataset_of(item: dict[str, Any]) -> Dataset:
    about, tags = item.get("dataset") or {}, item.get("tags") or []
    if not isinstance(about, dict) or not isinstance(tags, list) or not all(isinstance(tag, dict) for tag in tags):
        raise mistyped("datasets", item)
    texts = {name: member("datasets", about, name) for name in DATASET}
    pairs = tuple((member("datasets", tag, "key"), member("datasets", tag, "value")) for tag in tags)
    return Dataset(**texts, tags=pairs)


DATASET = ("name", "digest", "source_type", "source", "schema", "profile")


# -- parts ----------------------------------------------------------------------------------------------------------
def points_in(items: list[dict[str, Any]], list_name: str) -> tuple[list[Sent], list[ForModel]]:
    """The points of a body; of those that were measured of a logged model, that too. `list_name`: where they stand."""
    points, of_models = [], []
    for index, item in enumerate(items):
        key, value, at, step = item.get("key"), item.get("value"), item.get("timestamp"), item.get("step", 0)
        if not (type(key) is str and key and type(value) is float and type(at) is int and type(step) is int):
            key, value, at, step = point_of(item, f"{list_name}[{index}]." if list_name else "")
        point = Sent(key, value, at, step)
        points.append(point)
        if item.get("model_id"):
            about = [member("metrics", item, name) for name in ("model_id", "dataset_name", "dataset_digest")]
            of_models.append(ForModel(point, *about))
    return points, of_models


def point_of(item: dict[str, Any], where: str) -> tuple[str, float, int, int]:
    """A point whose members are not all of their types: numbers may be texts, and the step may be left out."""
    key = item.get("key")
    for name in ("key", "value", "timestamp"):
        if item.get(name) is None or item[name] == "":
            raise missing(where + name)
    if type(key) is not str:
        raise mistyped(f"{where}key", key)
    value = decimal(f"{where}value", item["value"])
    return key, value, whole(f"{where}timestamp", item["timestamp"]), whole(f"{where}step", item.get("step") or 0)


def check_sizes(sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        if size > MOST[name]:
            raise too_many(MOST[name], size, name)
    if sum(sizes.values()) > ALL:
        raise too_many(ALL, sum(sizes.values()), "metrics, params, and tags")


def too_many(limit: int, size: int, what: str) -> MlflowError:
    return wrong(
        f"A batch logging request can contain at most {limit} {what}. Got {size} {what}. Please split up {what} across"
        " multiple requests and try again."
    )


def found(ask: Ask, run_id: str) -> Run:
    """A run of the project as its writes need it."""
    return found_in_place(ask, run_id)[0]


def found_in_place(ask: Ask, run_id: str) -> tuple[Run, tuple[int, str]]:
    """The same, with the number and the artifact location of its experiment."""
    rows = fast_sql.select(Run, (*COLUMNS, *PLACE), id=run_id, project_id=ask.project_id)
    if not rows:
        raise no_such(run_id)
    *own, number, location = rows[0]
    return Run.from_db(DEFAULT_DB_ALIAS, COLUMNS, own), (number, location)


def no_such(run_id: str) -> MlflowError:
    return absent(f"Run with id={run_id} not found")


def state_of(status: Any) -> str:
    """The state that a status names, by its word or number; "" for none, and for what no protocol knows, as MLflow."""
    if type(status) is int and 0 < status < len(NUMBERED):
        status = NUMBERED[status]
    return STATES.get(status, "") if isinstance(status, str) else ""


def time_of(name: str, milliseconds: int) -> Any:
    if not EARLIEST <= milliseconds <= LATEST:
        raise wrong(f"Invalid value {milliseconds} for parameter '{name}' supplied: it counts milliseconds since 1970.")
    return moment(milliseconds)
