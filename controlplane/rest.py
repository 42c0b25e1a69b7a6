"""Shared parts of the REST views: strict JSON parser, error format, keyset pagination, JSON-only responses."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import models
from django.http import Http404, UnreadablePostError
from pydantic_core import from_json
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import BasePagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from apps.core.actors import ANONYMOUS
from apps.core.errors import (
    Invalid,
    Malformed,
    NotFound,
    PlaneError,
    Refused,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from apps.core.lists.pages import MAX_LIMIT, NEWEST_FIRST, Page, paginate
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal
from deepseek.messages import N_, Message

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
RETRY_TOO_MANY_SECONDS = 60
CHALLENGE = 'Bearer realm="plane"'


# -- bodies ---------------------------------------------------------------------------------------------------------
class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it, bounded in size and depth: no NaN, no repeated names, no NUL in a text."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """The value of the body. TooLarge above BODY_LIMIT_BYTES, or above the `body_limit_bytes` of the view where
        that is more; Malformed with the position otherwise."""
        view = (parser_context or {}).get("view")
        limit = max(settings.DATA_UPLOAD_MAX_MEMORY_SIZE, getattr(view, "body_limit_bytes", 0))
        try:
            data = stream.read(limit + 1)
        except RequestDataTooBig as error:
            raise build_too_large(limit) from error
        except UnreadablePostError as error:
            raise Malformed("The body ended early.", code="body_cut_off", hint=N_("Send it again.")) from error
        if len(data) > limit:
            raise build_too_large(limit)
        value = read_json(data)
        if parser_context:
            parser_context["request"].json_text = data  # what read_body validates: it need not write `value` again
        return value


def read_json(data: bytes) -> Any:
    """The value of a JSON text, or Malformed.

    pydantic_core goes first: it stops at a depth of 200, where the standard library would overflow its stack. It
    keeps the last of two equal names without a word, so the standard library reads once more for those.
    """
    try:
        from_json(data, allow_inf_nan=False)
        value = json.loads(data, object_pairs_hook=require_unique_names, parse_float=parse_finite)
        if b"\\u0000" in data and has_nul(value):
            raise ValueError("a text holds the character NUL (\\u0000), which the database cannot keep")
    except (ValueError, RecursionError) as error:
        raise Malformed(
            "The body is not valid JSON: {error}.",
            error=error,
            code="malformed_json",
            hint=N_("Send one JSON value in UTF-8, nested less than 200 deep, without NaN and repeated names."),
        ) from error
    return value


def require_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"the name {twice[:80]!r} stands twice in one object")
    return result


def parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large for a float")
    return number


def has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(has_nul(name) or has_nul(item) for name, item in value.items())
    return isinstance(value, list) and any(has_nul(item) for item in value)


def build_too_large(limit: int) -> TooLarge:
    return TooLarge(
        "The body is larger than {most} bytes.",
        most=limit,
        limit=limit,
        hint=N_("Send files to the artifacts address; BODY_LIMIT_BYTES sets this limit."),
    )


class Negotiation(DefaultContentNegotiation):
    """A body without Content-Type goes to the view's first parser; the answer is JSON whatever Accept says."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:
        if not request.content_type and parsers:
            return parsers[0]
        return super().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Sequence[Any], format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


# -- errors ---------------------------------------------------------------------------------------------------------
class HttpFault(PlaneError):
    """A refusal of HTTP itself (405, 415) or a defect (500), which no service raises."""

    def __init__(self, message: str, *, status: int, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.status = status


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler. It never returns None, so no exception reaches Django's error pages."""
    request = context.get("request")
    plane_error = as_plane_error(error)
    if plane_error is None:
        log.error("%s failed", describe_request(request), exc_info=error)
        plane_error = build_server_fault(request)
    elif isinstance(plane_error, Refused):
        record_refusal(getattr(request, "actor", None) or ANONYMOUS, plane_error, getattr(request, "_request", None))
    elif plane_error.status >= 500:
        log.error("%s: %s: %s", describe_request(request), plane_error.code, error)
    return Response(plane_error.as_dict(), status=plane_error.status, headers=build_headers(plane_error, error))


def as_plane_error(error: Exception) -> PlaneError | None:
    """The named error that this exception is, or None for a defect."""
    match error:
        case PlaneError():
            return error
        case exceptions.ValidationError():
            return build_invalid(error)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Unauthenticated(str(error.detail), hint=N_("Authorization: Bearer <token>"))
        case exceptions.NotFound() | Http404():
            return NotFound("There is no such object, or you may not see it.")
        case exceptions.Throttled():
            wait = math.ceil(error.wait) if error.wait else None
            return TooMany(
                "Too many requests.",
                limit=wait,
                hint=Message("Wait {wait} s.", wait=wait) if wait else Message("Wait a moment."),
            )
        case exceptions.ParseError():
            return Malformed(str(error.detail))
        case exceptions.APIException():
            return build_http_fault(error)
        case PermissionDenied():
            return HttpFault("This is not allowed.", status=403, code="refused")
        case RequestDataTooBig():
            return build_too_large(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return translate_fault(error)


def build_http_fault(error: exceptions.APIException) -> PlaneError:
    """405, 406, 415, DRF's own 403 (a failed CSRF check among them), and whatever else DRF knows."""
    hint = None
    code = str(getattr(error.detail, "code", error.default_code))
    if isinstance(error, exceptions.UnsupportedMediaType):
        hint = Message("Send Content-Type: application/json.")
    elif isinstance(error, exceptions.PermissionDenied):
        failed_csrf = str(error.detail).startswith("CSRF Failed")
        code = "csrf_failed" if failed_csrf else "refused"
        hint = (
            Message("Send the X-CSRFToken header, or a bearer token instead of the session.") if failed_csrf else None
        )
    return HttpFault(str(error.detail), status=error.status_code, code=code, hint=hint)


def build_server_fault(request: Any) -> PlaneError:
    """500: what the caller may know of a defect is the id under which the log tells more."""
    request_id = getattr(getattr(request, "actor", None), "request_id", "") or "unknown"
    return HttpFault(
        "The plane failed on this request; the operator's log holds the reason.",
        status=500,
        code="server_error",
        hint=Message("Give the operator this request id: {request_id}.", request_id=request_id),
    )


def describe_request(request: Any) -> str:
    return f"{getattr(request, 'method', '?')} {getattr(request, 'path', '?')}"


def build_headers(plane_error: PlaneError, error: Exception) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if plane_error.status == Unauthenticated.status:
        headers["WWW-Authenticate"] = getattr(error, "auth_header", None) or CHALLENGE
    elif plane_error.status == Unavailable.status:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    elif isinstance(error, exceptions.Throttled) and error.wait:
        headers["Retry-After"] = str(math.ceil(error.wait))
    elif plane_error.status == TooMany.status:
        headers["Retry-After"] = str(RETRY_TOO_MANY_SECONDS)
    return headers


def build_invalid(error: exceptions.ValidationError) -> Invalid:
    """All errors of a serializer, each with the JSON pointer of its field."""
    errors = list(flatten_errors(error.detail, ""))
    first = errors[0]
    return Invalid(first["message"], code=first["code"], field=first["field"], errors=errors)


def flatten_errors(detail: Any, pointer: str) -> Iterator[dict[str, Any]]:
    """One entry per message; list positions count only where DRF nests (a list of dictionaries)."""
    if isinstance(detail, Mapping):
        for name, value in detail.items():
            path = pointer if name == "non_field_errors" else f"{pointer}/{escape_pointer(str(name))}"
            yield from flatten_errors(value, path)
    elif isinstance(detail, list | tuple):
        nested = any(isinstance(item, Mapping | list) for item in detail)
        for index, item in enumerate(detail):
            yield from flatten_errors(item, f"{pointer}/{index}" if nested else pointer)
    else:
        code = str(getattr(detail, "code", "invalid"))
        yield {"code": code, "message": str(detail), "field": pointer or None, "limit": None, "hint": None}


def escape_pointer(name: str) -> str:
    """A name inside a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


# -- pages ----------------------------------------------------------------------------------------------------------
class CursorPagination(BasePagination):
    """`{"items": [...], "next": cursor or null}` with a Link header.

    The order is the view's `page_order`; of its fields those in `page_present` may be null, but in no row are.
    """

    page: Page[Any]
    url: str

    def paginate_queryset(self, queryset: models.QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        order, present = getattr(view, "page_order", NEWEST_FIRST), getattr(view, "page_present", ())
        self.page = paginate(queryset, request.query_params, order=order, present=present)
        self.url = request.build_absolute_uri()
        return self.page.items

    def get_paginated_response(self, data: Any) -> Response:
        links = [
            f'<{replace_query_param(self.url, "cursor", cursor)}>; rel="{rel}"'
            for rel, cursor in (("next", self.page.next), ("prev", self.page.previous))
            if cursor
        ]
        return Response({"items": data, "next": self.page.next}, headers={"Link": ", ".join(links)} if links else None)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": schema,
                "next": {"type": ["string", "null"], "description": "Send it as `cursor` for the next page."},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50}
        return [
            {"name": "cursor", "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "required": False, "schema": limit},
        ]
