"""Refuse requests for unknown host names before anything is loaded or rendered for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.html import format_html

from apps.core.errors import Malformed
from apps.platform.audit.middleware import is_json_wanted
from deepseek.messages import N_

log = logging.getLogger(__name__)
MAX_LOGGED_CHARACTERS = 100
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>{}</title><h1>{}</h1><p>{}</p><p>{}</p>'


class AllowedHost:
    """Django middleware. Django itself logs a trace, and the error page asks for the host again."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            return refuse_host(request)
        return self.get_response(request)


def refuse_host(request: HttpRequest) -> HttpResponseBase:
    host = str(request.META.get("HTTP_HOST", ""))[:MAX_LOGGED_CHARACTERS]
    log.warning("refused a request for the host %r, which ALLOWED_HOSTS does not name", host)
    error = Malformed(
        "This host name is not served here.",
        code="unknown_host",
        field="Host",
        hint=N_("Use the plane's own address; the operator can add a name to ALLOWED_HOSTS."),
    )
    response: HttpResponseBase
    if is_json_wanted(request):
        response = JsonResponse(error.as_dict(), status=error.status)
    else:
        phrase = HTTPStatus(error.status).phrase
        response = HttpResponse(format_html(PAGE, phrase, phrase, error.message, error.hint or ""), status=error.status)
    response.headers["Cache-Control"] = "no-store"
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own line for a 400 would be the second
    return response
