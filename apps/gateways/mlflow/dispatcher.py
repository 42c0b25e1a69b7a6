"""One call of MLflow's protocol from the request to its answer: who asks, which function, what it says.

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
from apps.gateways.mlflow.request import Ask, body_of, query_of
from apps.gateways.mlflow.responses import MlflowError, answered, as_mlflow, refused
from apps.gateways.mlflow.routes import STREAMS, TABLE, TICKETED, Call, Stream, by_pattern, methods_of
from apps.platform.accounts.bearer_lookup import bearer_of
from apps.platform.audit.faults import named_fault
from apps.platform.audit.services import record_refusal

log = logging.getLogger(__name__)


def answer(request: HttpRequest, path: str) -> HttpResponseBase:
    """The answer to `path`, which begins behind the host: "api/2.0/mlflow/runs/create". Never raises."""
    actor = ANONYMOUS
    try:
        method = request.method or ""
        opened = next((view for prefix, view in TICKETED if path.startswith(prefix)), None)
        if opened is not None:
            return opened(request, path)
        stream = next((view for prefix, view in STREAMS if path.startswith(prefix)), None)
        # A HEAD is answered as its GET, whose body the web server leaves out: load balancers ask /health that way.
        asked = "GET" if method == "HEAD" else method
        found: Call | Stream | None = stream or TABLE.get((asked, path))
        names: dict[str, str] = {}
        if found is None:
            found, names = by_pattern(asked, path)
        if found is None:
            raise nothing_at(method, path)
        if not isinstance(found, Call):
            actor, project_id, slug = bearer_of(request)
            return found(Ask(actor, project_id, slug, {}, request), path)
        if found.action is None:  # a probe, which needs no token
            return responded(found.function(Ask(actor, 0, "", {}, request)))
        actor, project_id, slug = bearer_of(request)
        by_query = asked == "GET"
        if found.body_bytes:  # a long body is read only of who may send it
            require(actor, found.action, Ask(actor, project_id, slug, {}, request))
        said = query_of(request) if by_query else body_of(request, found.body_bytes)
        ask = Ask(actor, project_id, slug, said, request, by_query=by_query)
        require(actor, found.action, ask)
        return responded(found.function(ask, **names))
    except MlflowError as error:
        return refused(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client must get MLflow's shape
        return failed(request, actor, error)


def responded(said: Any) -> HttpResponseBase:
    return said if isinstance(said, HttpResponseBase) else answered(said)


def nothing_at(method: str, path: str) -> MlflowError:
    allowed = methods_of(path)
    if allowed:
        return MlflowError("METHOD_NOT_ALLOWED", f"{method} is not a method of /{path}: {', '.join(allowed)}.")
    return MlflowError("ENDPOINT_NOT_FOUND", f"This server has no /{path[:200]}.")


def failed(request: HttpRequest, actor: Actor, error: Exception) -> HttpResponse:
    """The answer to an error that is not MLflow's: a refusal of a service, the database away, a defect."""
    named = error if isinstance(error, PlaneError) else named_fault(error)
    if named is None:
        request_id = getattr(request, "request_id", "") or "unknown"
        log.error("%s %s failed (request %s)", request.method, request.path, request_id, exc_info=error)
        text = f"The plane failed on this request; the operator's log holds the reason. Request id: {request_id}."
        return refused(MlflowError("INTERNAL_ERROR", text))
    if isinstance(named, Refused):
        record_refusal(actor, named, request)
    elif named is not error:
        log.error("%s %s: %s (%s)", request.method, request.path, named.code, error)
    return refused(as_mlflow(named))
