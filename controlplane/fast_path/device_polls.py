"""Answer the polls of devices without Django's middleware: a fleet of 100,000 asks hundreds of times a second."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse

from apps.core.errors import Malformed, Refused, WrongMethod
from apps.fleet.devices.polling import answer_poll
from apps.platform.accounts.actors import get_client_address
from controlplane.rest import as_plane_error, build_headers, build_server_fault
from deepseek.messages import N_

log = logging.getLogger(__name__)
POLL_PATH = "api/v1/agent/poll"


def respond_to_poll(request: HttpRequest) -> HttpResponse:
    """200, 304 or an error in the plane's shape; nothing is raised into the server."""
    try:
        check_request(request)
        answer = answer_poll(
            request.META.get("HTTP_AUTHORIZATION", ""),
            request.META.get("HTTP_IF_NONE_MATCH", ""),
            address=get_client_address(request),
            request_id=getattr(request, "request_id", ""),
        )
    except Exception as error:
        plane_error = as_plane_error(error)
        if plane_error is None:
            log.exception("a poll failed")
            plane_error = build_server_fault(request)
        headers = build_headers(plane_error, error)
        return JsonResponse(plane_error.as_dict(), status=plane_error.status, headers=headers)
    headers = {"ETag": answer.etag, "Cache-Control": "no-cache"}
    if answer.document is None:
        return HttpResponse(status=304, headers=headers)
    return JsonResponse(answer.document, headers=headers)


def check_request(request: HttpRequest) -> None:
    """What the middleware would refuse: another method, a host that is not served, a token in the clear."""
    if request.method != "GET":
        raise WrongMethod("This address is read.", limit="GET")
    try:
        request.get_host()
    except DisallowedHost:
        raise Malformed("This host is not served here.", field="Host") from None
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        # No redirect: a client would follow it with its token, which has been in the clear by then.
        raise Refused("This plane is asked by https alone.", action="device.report", hint=N_("Use https."))
