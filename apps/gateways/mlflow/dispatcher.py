"""Dispatch a request of the MLflow protocol: authenticate, find the route, check its permission, build the response.

It stands beside Django's middleware, not behind it (docs/adr/0022): a client has a token and no session, language,
cookie or form, and a training loop must not pay for those at every step.
"""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.core.actors import ANONYMOUS, Actor
from apps.core.errors import PlaneError, Refused
from apps.core.policy import require
from apps.gateways.mlflow.request import MlflowCall, parse_query, read_json_body
from apps.gateways.mlflow.responses import MlflowError, as_mlflow_error, build_error_response, build_json_response
from apps.gateways.mlflow.routes import ROUTES_BY_ADDRESS, STREAMS, TICKETED, Route, Stream, list_methods, match_pattern
from apps.gateways.mlflow.run_tokens import get_caller, refuse_other_places, refuse_other_runs
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal

log = logging.getLogger(__name__)


def dispatch_request(request: HttpRequest, path: str) -> HttpResponseBase:
    """The answer to `path`, which begins behind the host: "api/2.0/mlflow/runs/create". Never raises."""
    actor = ANONYMOUS
    try:
        method = request.method or ""
        ticketed_view = next((view for prefix, view in TICKETED if path.startswith(prefix)), None)
        if ticketed_view is not None:
            return ticketed_view(request, path)
        stream = next((view for prefix, view in STREAMS if path.startswith(prefix)), None)
        # A HEAD is answered as its GET, whose body the web server leaves out: load balancers ask /health that way.
        lookup_method = "GET" if method == "HEAD" else method
        route: Route | Stream | None = stream or ROUTES_BY_ADDRESS.get((lookup_method, path))
        names: dict[str, str] = {}
        if route is None:
            route, names = match_pattern(lookup_method, path)
        if route is None:
            raise unknown_route_error(method, path)
        if not isinstance(route, Route):
            actor, project_id, slug = get_caller(request)
            call = MlflowCall(actor, project_id, slug, {}, request)
            refuse_other_places(call, path)
            return route(call, path)
        if route.action is None:  # a probe, which needs no token
            return build_response(route.function(MlflowCall(actor, 0, "", {}, request)))
        actor, project_id, slug = get_caller(request)
        by_query = lookup_method == "GET"
        if route.body_bytes:  # a long body is read only of who may send it
            require(actor, route.action, MlflowCall(actor, project_id, slug, {}, request))
        parameters = parse_query(request) if by_query else read_json_body(request, route.body_bytes)
        call = MlflowCall(actor, project_id, slug, parameters, request, by_query=by_query)
        require(actor, route.action, call)
        refuse_other_runs(call, route, names)
        return build_response(route.function(call, **names))
    except MlflowError as error:
        return build_error_response(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client must get MLflow's shape
        return build_failure_response(request, actor, error)


def build_response(result: Any) -> HttpResponseBase:
    return result if isinstance(result, HttpResponseBase) else build_json_response(result)


def unknown_route_error(method: str, path: str) -> MlflowError:
    allowed = list_methods(path)
    if allowed:
        return MlflowError("METHOD_NOT_ALLOWED", f"{method} is not a method of /{path}: {', '.join(allowed)}.")
    return MlflowError("ENDPOINT_NOT_FOUND", f"This server has no /{path[:200]}.")


def build_failure_response(request: HttpRequest, actor: Actor, error: Exception) -> HttpResponse:
    """The answer to an error that is not MLflow's: a refusal of a service, the database away, a defect."""
    plane_error = error if isinstance(error, PlaneError) else translate_fault(error)
    if plane_error is None:
        request_id = getattr(request, "request_id", "") or "unknown"
        log.error("%s %s failed (request %s)", request.method, request.path, request_id, exc_info=error)
        text = f"The plane failed on this request; the operator's log holds the reason. Request id: {request_id}."
        return build_error_response(MlflowError("INTERNAL_ERROR", text))
    if isinstance(plane_error, Refused):
        record_refusal(actor, plane_error, request)
    elif plane_error is not error:
        log.error("%s %s: %s (%s)", request.method, request.path, plane_error.code, error)
    return build_error_response(as_mlflow_error(plane_error))
