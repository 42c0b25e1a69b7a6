"""What a failed log-in counts against, so that guessing is bounded and nobody locks another person out.

| attempt | counts against | refused after |
|---|---|---|
| from a known device (devices.py) | the account on that device | LOCKOUT_FAILURES failures, for LOCKOUT_MINUTES |
| any other | the account at that address | LOCKOUT_FAILURES failures, for LOCKOUT_MINUTES |
| any other, where the account has not logged in lately | the account; the address | LOG_IN_LIMITS, beside that |

The first two are axes' (the standard's lock, GB/T 22239-2019 8.1.4.1 b), the third allauth's rate limits. Failures of
others reach a person who is neither at a known device nor at a known address, or shares an address with them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from allauth.core.internal.ratelimit import RateLimitUsage, consume
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessLog
from axes.utils import reset
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from apps.platform.accounts.actors import get_client_address
from apps.platform.accounts.known_devices import find_device, normalise_username

ON_DEVICE = "#device:"  # between the name and the device, in what axes takes for a user name
KNOWN_ADDRESS_DAYS = 90
IPV6_NETWORK = 64  # bits: one line has all the addresses behind them


def get_lockout_username(request: HttpRequest | None, credentials: Mapping[str, Any] | None = None) -> str:
    """What axes takes for the user name: the name that was typed, and the device where it is one of this account.

    The form calls the field `login`, the authentication backends call it `username`.
    """
    username = (credentials or {}).get("username")
    if username is None and request is not None:
        username = request.POST.get("login") or request.POST.get("username")
    name = normalise_username(username)
    device = find_device(request, name) if request is not None else ""
    return f"{name}{ON_DEVICE}{device}" if device else name


def build_lockout_parameters(request: Any, credentials: Mapping[str, Any] | None = None) -> list[Any]:
    """For axes: a device has a count of its own wherever it is; everything else has one for each address."""
    counted = get_lockout_username(request, credentials) if isinstance(request, HttpRequest) else request.username
    return ["username"] if ON_DEVICE in counted else [["username", "ip_address"]]


def get_counted_address(request: HttpRequest) -> str:
    """The client's address as failures are counted: of IPv6 the network, whose addresses one client may all use."""
    address = get_client_address(request)
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False).network_address)


def is_locked(request: HttpRequest, credentials: Mapping[str, Any]) -> bool:
    """Whether axes refuses this attempt before it looks at the password."""
    return not AxesProxyHandler.is_allowed(request, dict(credentials))


def is_known_client(request: HttpRequest, username: str) -> bool:
    """Whether this account has logged in on this device, or lately from this address."""
    name = normalise_username(username)
    if find_device(request, name):
        return True
    since = timezone.now() - timedelta(days=KNOWN_ADDRESS_DAYS)
    log_ins = AccessLog.objects.filter(username__iexact=name, ip_address=get_counted_address(request))
    return bool(log_ins.filter(attempt_time__gte=since).exists())


def consume_limits(request: HttpRequest, credentials: Mapping[str, Any]) -> tuple[bool, RateLimitUsage | None]:
    """Before a password is looked at: whether LOG_IN_LIMITS allow it, and what to roll back where it is the right one.

    For attempts alone that axes does not refuse anyway, which would use up the limits of everybody, and that come from
    an unknown client: a known one has a count of its own.
    """
    name = normalise_username(credentials.get("username"))
    if is_locked(request, credentials) or is_known_client(request, name):
        return True, None
    limits = {"log_in": settings.LOG_IN_LIMITS}
    usage = consume(request, app="accounts", action="log_in", config=limits, key=name)
    return usage is not None, usage


def clear_failures(request: HttpRequest, username: str) -> None:
    """The right password was given: its count begins anew, on this device or at this address alone."""
    counted = get_lockout_username(request, {"username": username})
    reset(username=counted, ip=None if ON_DEVICE in counted else get_counted_address(request))
