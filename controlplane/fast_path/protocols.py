"""Serve token-authenticated API paths without Django's middleware (docs/adr/0022).

A training loop calls thousands of times a minute, and so does a fleet of devices. Sessions, languages, messages, pages
and forms have no part in what they are answered, and cost more than the answer does. What such a call needs of them is
here, in order: the counters, the request id, the host check, TLS alone behind TLS, nothing stored and nothing guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.gateways.hawkbit import responses as hawkbit_responses
from apps.gateways.hawkbit.addresses import is_device_address
from apps.gateways.hawkbit.dispatcher import dispatch_request as dispatch_hawkbit
from apps.gateways.mlflow import responses as mlflow_responses
from apps.gateways.mlflow.dispatcher import dispatch_request as dispatch_mlflow
from apps.gateways.mlflow.urls import is_mlflow_address
from apps.platform.accounts.middleware import get_request_id
from controlplane.fast_path.device_polls import POLL_PATH, respond_to_poll
from controlplane.request_metrics import count

ALWAYS = (("X-Content-Type-Options", "nosniff"),)

Start = Callable[[str, list[tuple[str, str]]], Any]


class Protocol(NamedTuple):
    """Who answers a path, which stands without its leading slash."""

    view: str  # in the counters
    is_mine: Callable[[str], bool]
    dispatch: Callable[[HttpRequest, str], HttpResponseBase]
    refuse: Callable[[int, str], HttpResponseBase] | None  # 400 or 403 in its own shape; None: it refuses by itself


PROTOCOLS = (
    Protocol("agent-poll", lambda path: path == POLL_PATH, lambda request, _path: respond_to_poll(request), None),
    Protocol("mlflow", is_mlflow_address, dispatch_mlflow, mlflow_responses.build_refusal),
    Protocol("hawkbit", is_device_address, dispatch_hawkbit, hawkbit_responses.build_refusal),
)


def find_protocol(path: str) -> Protocol | None:
    """The protocol of this path; None where Django's urls answer."""
    return next((protocol for protocol in PROTOCOLS if protocol.is_mine(path)), None)


def handle_fast(environ: dict[str, Any], start_response: Start, protocol: Protocol) -> Iterable[bytes]:
    """WSGI application for the fast-path addresses."""
    began = time.monotonic()
    request = WSGIRequest(environ)
    request.request_id = request_id = get_request_id(request)  # type: ignore[attr-defined]
    response = build_response(request, protocol)
    headers = [*response.items(), ("X-Request-ID", request_id), *ALWAYS]
    if "Cache-Control" not in response.headers:
        headers.append(("Cache-Control", "no-store"))
    if settings.SECURE_HSTS_SECONDS:
        headers.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}"))
    count(protocol.view, request, response, time.monotonic() - began)
    status = f"{response.status_code} {response.reason_phrase}"
    if isinstance(response, HttpResponse):
        close_old_connections()  # back to the pool, before the client reads
        if (
            "Content-Length" not in response.headers and response.status_code != 304
        ):  # that of a HEAD tells of a body which is not there
            headers.append(("Content-Length", str(len(response.content))))
        start_response(status, headers)
        return [response.content]
    start_response(status, headers)
    if getattr(response, "file_to_stream", None) is not None and environ.get("wsgi.file_wrapper") is not None:
        response.file_to_stream.close = response.close  # type: ignore[attr-defined]
        return environ["wsgi.file_wrapper"](response.file_to_stream, response.block_size)  # type: ignore[attr-defined,no-any-return]
    return response  # type: ignore[return-value]  # whose end tells Django's signal, which closes the connection


def build_response(request: HttpRequest, protocol: Protocol) -> HttpResponseBase:
    if protocol.refuse is not None:
        try:
            request.get_host()
        except DisallowedHost:
            return protocol.refuse(400, "This host is not served here.")
        if settings.SECURE_SSL_REDIRECT and not request.is_secure():
            # No redirect: a client would follow it with its token, which has been in the clear by then.
            return protocol.refuse(403, "This server is asked by https alone.")
    return protocol.dispatch(request, request.path_info[1:])
