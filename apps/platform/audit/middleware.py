"""Every named error of a page becomes an answer: a rendered page, JSON for programs, the log-in for the unknown.

REST views have their own handler (controlplane/rest.py) with the same shape. By the time an exception arrives
here the transaction that it broke is rolled back, so a refusal is recorded in one of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import resolve_url
from django.template.loader import select_template

from apps.core.actors import ANONYMOUS
from apps.core.errors import PlaneError, Refused, Unauthenticated, WrongMethod
from apps.core.html import format_html
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal
from deepseek.messages import N_

log = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = 5


class PlaneErrors:
    """Django middleware: it looks at exceptions that a view raised, and at its empty answers to a wrong method."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            return build_wrong_method_response(request, response.headers["Allow"])
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        error = exception if isinstance(exception, PlaneError) else translate_fault(exception)
        if error is None:
            return None  # a defect: Django logs it with its trace and shows templates/500.html
        if isinstance(error, Refused):
            record_refusal(getattr(request, "actor", ANONYMOUS), error, request)
        elif error is not exception:
            log.error("%s %s: %s (%s)", request.method, request.path, error.code, exception)
        return build_error_response(request, error)


def build_wrong_method_response(request: HttpRequest, allowed: str) -> HttpResponseBase:
    """405 with a reason: of an answer that holds nothing a browser shows a page of its own, without a way back.

    People come by it when they load the address of a form that was refused once more.
    """
    if request.method in {"GET", "HEAD"}:
        error = WrongMethod(
            "There is no page at this address: it takes what a form sends.",
            limit=allowed,
            hint=N_("Go to the page that the form is on."),
        )
    else:
        error = WrongMethod(
            "{method} is not for this address.", method=request.method, limit=allowed, hint=N_("Use one that it has.")
        )
    response = build_error_response(request, error)
    response.headers["Allow"] = allowed
    return response


def is_json_wanted(request: HttpRequest) -> bool:
    """A program asks: an API address, or JSON named before HTML."""
    if request.path_info.startswith("/api/"):
        return True
    accept = request.headers.get("Accept", "")
    return "json" in accept and "text/html" not in accept


def build_error_response(request: HttpRequest, error: PlaneError) -> HttpResponseBase:
    """The response to a named error, in the form that this client reads."""
    if is_json_wanted(request):
        response: HttpResponseBase = JsonResponse(error.as_dict(), status=error.status)
    elif isinstance(error, Unauthenticated):
        return to_login(request)
    else:
        response = HttpResponse(render_error_page(request, error), status=error.status)
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    response.headers["Cache-Control"] = "no-store"
    return response


def to_login(request: HttpRequest) -> HttpResponseBase:
    """The log-in page, which leads back here; only a GET can be gone back to."""
    back = request.get_full_path() if request.method in {"GET", "HEAD"} else "/"
    response = redirect_to_login(back, resolve_url(settings.LOGIN_URL))
    if "HX-Request" in request.headers:  # htmx would follow a 302 and paste the log-in page into the fragment
        return HttpResponse(status=HTTPStatus.OK, headers={"HX-Redirect": response.url})
    return response


def render_error_page(request: HttpRequest, error: PlaneError) -> str:
    """templates/errors/<status>.html, or the page of 400 or 500 for a status without one of its own."""
    first = error.errors[0]
    request_id = str(getattr(getattr(request, "actor", None), "request_id", "") or "")
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        request.without_frame = True  # type: ignore[attr-defined]  # its facts may be the very thing that is away
    context = {"status": error.status, "request_id": request_id, "errors": error.errors, **first}
    try:
        general = "errors/400.html" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "errors/500.html"
        return str(select_template([f"errors/{error.status}.html", general]).render(context, request))
    except Exception:  # the frame reads the database, which may be the very thing that failed
        log.exception("the page of error %s (%s) could not be drawn", error.status, error.code)
        return format_html(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>{}</title><h1>{}</h1><p>{}</p><p>{} {}</p>',
            HTTPStatus(error.status).phrase,
            first["message"],
            first["hint"] or "",
            first["code"],
            request_id,
        )
