"""Dispatch a request of the device API: authenticate the device, find the resource, build the response.

It stands beside Django's middleware, not behind it, as MLflow's does (docs/adr/0022).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError

from apps.core.actors import ANONYMOUS, Actor
from apps.core.errors import PlaneError, Refused
from apps.gateways.hawkbit import resources
from apps.gateways.hawkbit.addresses import ADDRESS, build_root
from apps.gateways.hawkbit.call import DdiCall
from apps.gateways.hawkbit.callers import find_caller
from apps.gateways.hawkbit.responses import DdiError, absent_error, as_ddi_error, build_error_response
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal

log = logging.getLogger(__name__)

Resource = Callable[..., HttpResponseBase]
ID = r"(?P<number>[0-9]{1,18})"
FILES = rf"/softwaremodules/{ID}/artifacts"
# Below the address of a device: (path, {method: resource}).
ROUTES: list[tuple[re.Pattern[str], dict[str, Resource]]] = [
    (re.compile(r""), {"GET": resources.get_base}),
    (re.compile(rf"/deploymentBase/{ID}"), {"GET": resources.get_deployment}),
    (re.compile(rf"/deploymentBase/{ID}/feedback"), {"POST": resources.post_deployment_feedback}),
    (re.compile(rf"/cancelAction/{ID}"), {"GET": resources.get_cancel_action}),
    (re.compile(rf"/cancelAction/{ID}/feedback"), {"POST": resources.post_cancel_feedback}),
    (re.compile(r"/configData"), {"PUT": resources.put_config_data}),
    (re.compile(r"/installedBase"), {"PUT": resources.put_installed}),
    (re.compile(rf"/installedBase/{ID}"), {"GET": resources.get_installed}),
    (re.compile(FILES), {"GET": resources.list_artifacts}),
    (
        re.compile(rf"{FILES}/(?P<name>[^/]+)"),
        {"GET": resources.get_artifact, "HEAD": resources.get_artifact},
    ),
]


def dispatch_request(request: HttpRequest, path: str) -> HttpResponseBase:
    """The answer to `path`, which begins behind the host: "DEFAULT/controller/v1/pump-7". Never raises."""
    actor: Actor = ANONYMOUS
    try:
        address = ADDRESS.fullmatch(path)
        if address is None:
            raise absent_error("such resource")
        resource, names, allowed = find_resource(request.method or "", address["rest"])
        tenant, controller = address["tenant"], address["controller"]
        # Only a poll registers a device that is not known yet.
        caller = find_caller(request, tenant, controller, may_register=resource is resources.get_base)
        actor = caller.actor
        if resource is None:
            raise unknown_resource_error(request.method or "", address["rest"], allowed)
        call = DdiCall(request, caller.actor, caller.device, build_root(request, tenant, controller))
        return resource(call, **names)
    except DdiError as error:
        return build_error_response(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the device must get an answer
        return build_failure_response(request, actor, error)


def find_resource(method: str, rest: str) -> tuple[Resource | None, dict[str, str], list[str]]:
    """(the resource, what its address names, the methods of the address); None where there is no such."""
    for pattern, methods in ROUTES:
        match = pattern.fullmatch(rest.rstrip("/"))
        if match is not None:
            return methods.get(method), match.groupdict(), sorted(methods)
    return None, {}, []


def unknown_resource_error(method: str, rest: str, allowed: list[str]) -> DdiError:
    if allowed:
        return DdiError(405, "method_not_allowed", f"{method} is not a method of this address: {', '.join(allowed)}.")
    return absent_error(f"resource {rest[:100]!r}")


def build_failure_response(request: HttpRequest, actor: Actor, error: Exception) -> HttpResponse:
    """The answer to an error that is not the gateway's: a refusal of a service, the database away, a defect."""
    if isinstance(error, RequestDataTooBig):
        return build_error_response(DdiError(413, "too_large", "The body is too large; send fewer messages at once."))
    if isinstance(error, UnreadablePostError):
        return build_error_response(DdiError(400, "message_unreadable", "The body ended early."))
    plane_error = error if isinstance(error, PlaneError) else translate_fault(error)
    if plane_error is None:
        request_id = getattr(request, "request_id", "") or "unknown"
        log.error("%s %s failed (request %s)", request.method, request.path, request_id, exc_info=error)
        text = f"The plane failed on this request; the operator's log holds the reason. Request id: {request_id}."
        return build_error_response(DdiError(500, "internal_error", text))
    if isinstance(plane_error, Refused):
        record_refusal(actor, plane_error, request)
    elif plane_error is not error:
        log.error("%s %s: %s (%s)", request.method, request.path, plane_error.code, error)
    return build_error_response(as_ddi_error(plane_error))
