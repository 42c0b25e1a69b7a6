"""Error responses of the protocols: a line of text for Git, a small JSON object for git-lfs.

Neither client reads a page, follows to a log-in, or keeps a CSRF token.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from apps.core.actors import ANONYMOUS
from apps.core.errors import PlaneError, Refused
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal

log = logging.getLogger(__name__)

LFS = "application/vnd.git-lfs+json"
REALM = 'Basic realm="plane", charset="UTF-8"'
RETRY_AFTER_SECONDS = 5
NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Expires": "Fri, 01 Jan 1980 00:00:00 GMT"}
View = Callable[..., HttpResponseBase]
Shape = Callable[[HttpRequest, PlaneError], HttpResponse]


def format_error(error: PlaneError) -> str:
    return f"{error.message} {error.hint or ''}".strip()


def render_git_error(request: HttpRequest, error: PlaneError) -> HttpResponse:
    """Git prints a text/plain answer line by line, each after `remote: `."""
    response = HttpResponse(
        f"{format_error(error)}\n", "text/plain; charset=utf-8", status=error.status, headers=NO_CACHE
    )
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = REALM
    return response


def render_lfs_error(request: HttpRequest, error: PlaneError) -> HttpResponse:
    """git-lfs prints `message`; the id leads to the record of a refusal."""
    body = {"message": format_error(error), "request_id": str(getattr(request, "request_id", ""))}
    response = build_lfs_response(body, status=error.status)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["LFS-Authenticate"] = REALM
    return response


def build_lfs_response(body: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    return HttpResponse(json.dumps(body), LFS, status=status, headers=NO_CACHE)


def handle_protocol_errors(shape: Shape) -> Callable[[View], View]:
    """Decorator of the views of a protocol: no log-in page, no CSRF, and every named error in its shape."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @login_not_required
        @wraps(view)
        def respond(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                return view(request, *args, **kwargs)
            except Exception as failure:
                error = failure if isinstance(failure, PlaneError) else translate_fault(failure)
                if error is None:
                    raise
                return render_error(shape, request, error)

        return respond

    return decorate


def render_error(shape: Shape, request: HttpRequest, error: PlaneError) -> HttpResponse:
    if isinstance(error, Refused):
        record_refusal(getattr(request, "actor", ANONYMOUS), error, request)
    response = shape(request, error)
    if error.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response
