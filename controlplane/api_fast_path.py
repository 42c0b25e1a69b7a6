"""Serve token-authenticated API paths without Django's middleware (docs/adr/0022).

A training loop calls thousands of times a minute. Sessions, languages, messages, content policy and forms have no
part in what it is answered, and cost more than the answer does. What such a call needs of them is here, in order:
the counters, the request id, the host check, TLS alone behind TLS, and that nothing is stored or guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.gateways.mlflow.dispatcher import dispatch_request
from apps.gateways.mlflow.responses import MlflowError, build_error_response
from apps.gateways.mlflow.urls import ALONE, PREFIXES
from apps.platform.accounts.middleware import get_request_id
from controlplane.request_metrics import count

VIEW = "mlflow"  # in the counters
ALWAYS = (("X-Content-Type-Options", "nosniff"),)

Start = Callable[[str, list[tuple[str, str]]], Any]


def is_mine(path: str) -> bool:
    """Whether this path, without its leading slash, takes the fast path."""
    return path.startswith(PREFIXES) or path in ALONE


def handle_fast(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """WSGI application for the fast-path addresses."""
    began = time.monotonic()
    request = WSGIRequest(environ)
    request.request_id = request_id = get_request_id(request)  # type: ignore[attr-defined]
    response = build_response(request)
    headers = [*response.items(), ("X-Request-ID", request_id), *ALWAYS]
    if "Cache-Control" not in response.headers:
        headers.append(("Cache-Control", "no-store"))
    if settings.SECURE_HSTS_SECONDS:
        headers.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}"))
    count(VIEW, request, response, time.monotonic() - began)
    status = f"{response.status_code} {response.reason_phrase}"
    if isinstance(response, HttpResponse):
        close_old_connections()  # back to the pool, before the client reads
        if "Content-Length" not in response.headers:  # that of a HEAD tells of a body which is not there
            headers.append(("Content-Length", str(len(response.content))))
        start_response(status, headers)
        return [response.content]
    start_response(status, headers)
    if getattr(response, "file_to_stream", None) is not None and environ.get("wsgi.file_wrapper") is not None:
        response.file_to_stream.close = response.close  # type: ignore[attr-defined]
        return environ["wsgi.file_wrapper"](response.file_to_stream, response.block_size)  # type: ignore[attr-defined,no-any-return]
    return response  # type: ignore[return-value]  # whose end tells Django's signal, which closes the connection


def build_response(request: HttpRequest) -> HttpResponseBase:
    try:
        request.get_host()
    except DisallowedHost:
        return build_error_response(MlflowError("BAD_REQUEST", "This host is not served here."))
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        # No redirect: a client would follow it with its token, which has been in the clear by then.
        return build_error_response(MlflowError("PERMISSION_DENIED", "This server is asked by https alone."))
    return dispatch_request(request, request.path_info[1:])
