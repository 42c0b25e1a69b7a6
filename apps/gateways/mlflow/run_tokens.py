"""Who calls, and how far the token of a single run goes: to that run and the models that it logs."""

from __future__ import annotations

import re

from django.http import HttpRequest

from apps.core.actors import Actor
from apps.core.errors import Refused
from apps.gateways.mlflow import experiments, files, logged_models, metrics, runs
from apps.gateways.mlflow.request import MlflowCall
from apps.gateways.mlflow.routes import Route
from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.experiments.services.run_tokens import RUN_TOKEN_PREFIX, find_run_token_actor
from apps.platform.accounts.actors import get_client_address
from apps.platform.accounts.authentication import parse_secret
from apps.platform.accounts.bearer_lookup import get_bearer
from deepseek.messages import N_

BY_RUN = {
    runs.get,
    runs.update,
    runs.log_metric,
    runs.log_parameter,
    runs.log_batch,
    runs.set_tag,
    runs.delete_tag,
    runs.log_inputs,
    runs.log_outputs,
    runs.log_model,
    files.list_run_files,
    metrics.get_history,
    metrics.get_history_bulk_interval,
}
BY_MODEL = {
    logged_models.get,
    logged_models.finish,
    logged_models.add_params,
    logged_models.set_tags,
    logged_models.delete_tag,
    logged_models.list_files,
}
BY_EXPERIMENT = {experiments.get}
# Of the address of a file: .../<experiment>/<run>/artifacts/..., .../<experiment>/models/<model>/artifacts/...
PLACE = re.compile(r"/[0-9]+/(?:models/(?P<model>[^/]+)|(?P<run>[0-9a-f]{32}))/artifacts(?:/|$)")


def get_caller(request: HttpRequest) -> tuple[Actor, int, str]:
    """(the actor, id and slug of the token's project) by the Authorization header. Raises Unauthenticated."""
    secret = parse_secret(request.META.get("HTTP_AUTHORIZATION", ""))
    if secret is None or not secret.startswith(RUN_TOKEN_PREFIX):
        return get_bearer(request)
    return find_run_token_actor(
        secret, address=get_client_address(request), request_id=getattr(request, "request_id", "")
    )


def refuse_other_runs(call: MlflowCall, route: Route, names: dict[str, str]) -> None:
    """Raise Refused if the token is one of a single run and the call is about anything else."""
    if not call.actor.run_id:
        return
    function = route.function
    if function in BY_RUN:
        allowed = call.get_run_id() == call.actor.run_id
    elif function in BY_MODEL:
        model_id = call.get_text("model_id") if function is logged_models.finish else names.get("model_id", "")
        allowed = is_model_of_run(model_id, call.actor.run_id)
    elif function is logged_models.create:
        allowed = call.get_text("source_run_id") == call.actor.run_id
    elif function in BY_EXPERIMENT:
        number = call.get_text("experiment_id")
        allowed = Run.objects.filter(
            pk=call.actor.run_id, experiment__number=number if number.isdigit() else -1
        ).exists()
    else:
        allowed = False
    if not allowed:
        raise build_refusal(call)


def refuse_other_places(call: MlflowCall, path: str) -> None:
    """Raise Refused if the token is one of a single run and the file is not among its files or its models'."""
    if not call.actor.run_id:
        return
    place = PLACE.search(path)
    if place and place["run"] == call.actor.run_id:
        return
    if place and place["model"] and is_model_of_run(place["model"], call.actor.run_id):
        return
    raise build_refusal(call)


def is_model_of_run(model_id: str, run_id: str) -> bool:
    return LoggedModel.objects.filter(pk=model_id, source_run_id=run_id).exists()


def build_refusal(call: MlflowCall) -> Refused:
    return Refused(
        "This token is good for run {run_id} alone.",
        run_id=call.actor.run_id,
        code="token_of_a_run",
        action="run.track",
        project_id=call.project_id,
        field="run_id",
        hint=N_("Log to the run that MLFLOW_RUN_ID names, or use a token of your own."),
    )
