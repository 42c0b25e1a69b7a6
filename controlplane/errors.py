"""Django's fallback error views (400, 403, 404, 500, CSRF failure), in the format of all other errors."""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFilesSent
from django.http import HttpRequest, HttpResponseBase

from apps.core.actors import ANONYMOUS
from apps.core.errors import Malformed, NotFound
from apps.platform.accounts.authentication import CsrfFailed
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.middleware import build_error_response
from apps.platform.audit.services import record_refusal
from controlplane.rest import HttpFault, build_server_fault, build_too_large
from deepseek.messages import N_


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """CSRF_FAILURE_VIEW: a form from an old tab, or from another site."""
    failure = CsrfFailed(
        "The form was not sent from a fresh page of this site.",
        action="session.write",
        hint=N_("Reload the page and send it again; cookies must be allowed."),
    )
    actor = getattr(request, "actor", ANONYMOUS)
    if not actor.is_anonymous:  # strangers would fill the trail
        record_refusal(actor, failure, request)
    return build_error_response(request, failure)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler400: Django's SuspiciousOperation family; the exception's text may quote secrets, so it stays here."""
    if isinstance(exception, RequestDataTooBig):
        return build_error_response(request, build_too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE))
    if isinstance(exception, TooManyFilesSent):
        limit = settings.DATA_UPLOAD_MAX_NUMBER_FILES
        failure = Malformed(
            "A form takes at most {most} files at once.",
            most=limit,
            code="too_many_files",
            field="file",
            limit=limit,
            hint=N_("Send them with deepseek data put, or let an operator run manage.py ingest on the folder."),
        )
        return build_error_response(request, failure)
    return build_error_response(request, Malformed("The request cannot be read.", code="bad_request"))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler403."""
    return build_error_response(request, HttpFault("This is not allowed.", status=403, code="refused"))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """handler404."""
    return build_error_response(request, NotFound("There is nothing at this address, or you may not see it."))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """handler500: Django has logged the trace. A middleware may have found the database away, before any view."""
    failure = sys.exc_info()[1]
    return build_error_response(request, (translate_fault(failure) if failure else None) or build_server_fault(request))
