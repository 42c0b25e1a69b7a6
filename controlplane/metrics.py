"""`/metrics` for Prometheus. Nobody may read it until METRICS_ALLOW names an address, or a token has `metrics:read`.

docs/monitoring.md says how to scrape it and what to be woken for.
"""

from __future__ import annotations

import logging
import threading
import time

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from apps.core.canonical import sha256_hex
from apps.core.errors import PlaneError, Refused, Unauthenticated, Unavailable
from apps.core.policy import require
from apps.platform.accounts.actors import get_client_address
from apps.platform.accounts.authentication import find_token, get_token_actor, parse_secret
from apps.platform.accounts.networks import is_in_networks
from apps.platform.audit.services import record_refusal
from controlplane.metrics_collector import PlaneCollector
from controlplane.request_metrics import build_registry
from deepseek.messages import Message

log = logging.getLogger(__name__)

TRUSTED_SECONDS = 600.0
"""A token that was good so lately opens the metrics, and nothing else, while the database is away: just then somebody
wants to know. Each process remembers its own, by digest."""
MOST_TRUSTED = 100

_trusted: dict[str, float] = {}
_lock = threading.Lock()


class CombinedCollector(Collector):
    """Request counters of the web processes, followed by the metrics of the plane itself."""

    def collect(self) -> list[Metric]:
        return [*build_registry().collect(), *PlaneCollector().collect()]


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Render the metrics for Prometheus; 401, 403 or 503 with a reason where access is refused or unverifiable."""
    try:
        check_access(request)
    except PlaneError as refusal:
        return render_refusal(refusal)
    registry = CollectorRegistry()
    registry.register(CombinedCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type, headers={"Cache-Control": "no-store"})


def render_refusal(refusal: PlaneError) -> HttpResponse:
    text = " ".join(filter(None, (refusal.message, refusal.hint))) + "\n"
    answer = HttpResponse(text, status=refusal.status, content_type="text/plain; charset=utf-8")
    answer.headers["Cache-Control"] = "no-store"
    if refusal.status == Unauthenticated.status:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
    return answer


def check_access(request: HttpRequest) -> None:
    """Raise Unauthenticated, Refused or Unavailable unless the caller may read the metrics."""
    if is_in_networks(get_client_address(request), settings.ENV.metrics_allow):
        return
    secret = parse_secret(request.headers.get("Authorization", ""))
    if secret is None:
        hint = Message("Send a token with the scope metrics:read, or name this address in METRICS_ALLOW.")
        raise Unauthenticated("Metrics are not for everybody.", hint=hint)
    digest = sha256_hex(secret)
    try:
        check_token(request)
    except DatabaseError:
        if time.monotonic() - _trusted.get(digest, -TRUSTED_SECONDS) < TRUSTED_SECONDS:
            return
        raise Unavailable("The database does not answer, so no token can be checked.") from None
    except PlaneError:
        with _lock:
            _trusted.pop(digest, None)
        raise
    with _lock:
        if len(_trusted) >= MOST_TRUSTED:
            _trusted.clear()
        _trusted[digest] = time.monotonic()


def check_token(request: HttpRequest) -> None:
    token = find_token(request)
    assert token is not None  # noqa: S101 - there is a secret
    actor = get_token_actor(request, token)
    try:
        require(actor, "metrics.view")
    except Refused as refusal:
        record_refusal(actor, refusal, request)
        raise
