"""Responses to devices: JSON, and errors in hawkBit's shape, of which stock clients read the status alone."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from pydantic_core import to_json

from apps.core.errors import PlaneError

JSON = "application/json"
RETRY_AFTER_SECONDS = 5
CHALLENGE = "TargetToken, GatewayToken"


class DdiError(Exception):
    """A refusal with an HTTP status. `code` is stable and documented in docs/hawkbit.md."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def unreadable_error(message: str) -> DdiError:
    """400 for a body that cannot be understood."""
    return DdiError(400, "message_unreadable", message)


def unauthenticated_error() -> DdiError:
    """401, in the same words whatever is wrong: who holds no good token learns nothing of projects and devices."""
    return DdiError(
        401,
        "unauthenticated",
        "No device with this id and token. Send Authorization: TargetToken <token> or GatewayToken <token>.",
    )


def absent_error(what: str) -> DdiError:
    return DdiError(404, "not_found", f"This device has no {what}.")


def as_ddi_error(error: PlaneError) -> DdiError:
    """The refusal of a service, under the same status."""
    return DdiError(error.status, error.code, f"{error.message} {error.hint}" if error.hint else str(error.message))


def build_json_response(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(to_json(value), status=status, content_type=JSON)


def build_error_response(error: DdiError) -> HttpResponse:
    """hawkBit's error object; its `exceptionClass` names a Java class there, and the kind of error here."""
    body = {"exceptionClass": "DdiError", "errorCode": error.code, "message": error.message}
    response = build_json_response(body, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    elif error.status in {429, 503}:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def build_refusal(status: int, message: str) -> HttpResponse:
    """400 or 403, for what the gateway never sees."""
    return build_error_response(DdiError(status, "bad_request" if status == 400 else "https_only", message))
