"""Responses to MLflow clients: compact JSON, and errors with MLflow's own codes and messages."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from pydantic_core import to_json

from apps.core.errors import (
    Conflict,
    Invalid,
    Malformed,
    NotFound,
    PlaneError,
    Refused,
    TooLarge,
    TooMany,
    Unauthenticated,
)

RETRY_AFTER_SECONDS = 5
CHALLENGE = 'Bearer realm="mlflow"'
# Code: (HTTP status, sqlstate, error class), as MLflow 3.17 sends them.
CODES: dict[str, tuple[int, str, str]] = {
    "INVALID_PARAMETER_VALUE": (400, "KAM00", "INVALID_PARAMETER_VALUE"),
    "BAD_REQUEST": (400, "KAM00", "INVALID_PARAMETER_VALUE"),
    "RESOURCE_ALREADY_EXISTS": (400, "KAM00", "RESOURCE_ALREADY_EXISTS"),
    "UNAUTHENTICATED": (401, "KAM00", "UNAUTHENTICATED"),
    "PERMISSION_DENIED": (403, "KAM00", "PERMISSION_DENIED"),
    "RESOURCE_DOES_NOT_EXIST": (404, "KAM00", "RESOURCE_NOT_FOUND"),
    "ENDPOINT_NOT_FOUND": (404, "KAM00", "ENDPOINT_NOT_FOUND"),
    "METHOD_NOT_ALLOWED": (405, "KAM00", "METHOD_NOT_ALLOWED"),
    "RESOURCE_CONFLICT": (409, "KAM00", "RESOURCE_CONFLICT"),
    "REQUEST_LIMIT_EXCEEDED": (429, "KAM00", "REQUEST_LIMIT_EXCEEDED"),
    "INTERNAL_ERROR": (500, "XXM00", "CLIENT_INTERNAL_ERROR"),
    "INVALID_STATE": (500, "XXM00", "CLIENT_INTERNAL_ERROR"),
    "NOT_IMPLEMENTED": (501, "XXM00", "NOT_IMPLEMENTED"),
    "TEMPORARILY_UNAVAILABLE": (503, "XXM00", "TEMPORARILY_UNAVAILABLE"),
}


class MlflowError(Exception):
    """A refusal in MLflow's words. `code` is one of CODES and fixes the status."""

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.status = status or CODES[code][0]


def invalid_parameter_error(message: str) -> MlflowError:
    """INVALID_PARAMETER_VALUE, 400: what a client gets for most mistakes. Never 500: it would try again for minutes."""
    return MlflowError("INVALID_PARAMETER_VALUE", message)


def missing_resource_error(message: str) -> MlflowError:
    return MlflowError("RESOURCE_DOES_NOT_EXIST", message)


def as_mlflow_error(error: PlaneError) -> MlflowError:
    """The refusal of a service in MLflow's shape: its text and hint, under the code that the client knows."""
    text = f"{error.message} {error.hint}" if error.hint else error.message
    match error:
        case Unauthenticated():
            return MlflowError("UNAUTHENTICATED", text)
        case Refused():
            return MlflowError("PERMISSION_DENIED", text)
        case NotFound():
            return MlflowError("RESOURCE_DOES_NOT_EXIST", text)
        case Conflict():
            exists = error.code.endswith("_exists")
            return MlflowError("RESOURCE_ALREADY_EXISTS" if exists else "RESOURCE_CONFLICT", text)
        case TooMany():
            return MlflowError("REQUEST_LIMIT_EXCEEDED", text)
        case TooLarge():
            return MlflowError("INVALID_PARAMETER_VALUE", text, status=413)
        case Invalid() | Malformed():
            return MlflowError("INVALID_PARAMETER_VALUE", text)
    if error.status >= 500:
        return MlflowError("TEMPORARILY_UNAVAILABLE", text)
    return MlflowError("BAD_REQUEST", text)


def build_refusal(status: int, message: str) -> HttpResponse:
    """400 or 403, for what the gateway never sees."""
    return build_error_response(MlflowError("BAD_REQUEST" if status == 400 else "PERMISSION_DENIED", message))


def as_json(value: Any) -> str:
    return to_json(value).decode()


def build_json_response(value: Any) -> HttpResponse:
    return HttpResponse(to_json(value), content_type="application/json")


def build_error_response(error: MlflowError) -> HttpResponse:
    _status, state, kind = CODES[error.code]
    body = {"error_code": error.code, "message": error.message, "sqlstate": state, "error_class": kind}
    response = HttpResponse(to_json(body), status=error.status, content_type="application/json")
    if error.code == "TEMPORARILY_UNAVAILABLE":
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    elif error.code == "UNAUTHENTICATED":
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response
