"""Send webhook messages over HTTP: to hosts of NOTICE_HOSTS alone, at an address that was looked at first.

No redirect is followed and no proxy is used. The answer's status decides; its body is not read.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from django.conf import settings

from apps.core.errors import PlaneError
from apps.platform.notices.models import Delivery
from apps.platform.notices.validation import is_listed, parse_address
from apps.platform.notices.webhook_secrets import SecretUnreadable, build_signature, decrypt_secret
from deepseek.collect.hosts import parse_entry

TIMEOUT_SECONDS = 5.0  # of the whole exchange
TIMED_OUT = f"no answer within {TIMEOUT_SECONDS:.0f} s"
GONE = 410
USER_AGENT = "deepseek-offline-notices/1"


class DeliveryFailed(Exception):
    """It was not taken, and may be later."""


class ReceiverGone(Exception):
    """The receiver wants no more messages."""


def send_webhook_message(delivery: Delivery) -> None:
    """POST the message, signed; return once the receiver answered 2xx. Raises DeliveryFailed or ReceiverGone."""
    webhook = delivery.webhook
    if webhook is None:
        raise DeliveryFailed("the webhook is deleted")
    try:
        host, port = parse_address(webhook.url)
    except PlaneError as failure:
        raise DeliveryFailed(str(failure)) from None
    if not is_listed(host, port):
        raise DeliveryFailed(f"{host}:{port} is not in NOTICE_HOSTS")
    body = delivery.body.encode()
    headers = build_headers(webhook.secret, delivery.event_id, int(time.time()), body)
    status = post(webhook.url, host, port, body, headers)
    if status == GONE:
        raise ReceiverGone("HTTP 410")
    if not 200 <= status < 300:
        raise DeliveryFailed(f"HTTP {status}" + (" (redirects are not followed)" if 300 <= status < 400 else ""))


def build_headers(stored_secret: str, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: the id is that of every attempt, time and signature are of this one."""
    try:
        secret = decrypt_secret(stored_secret)
    except SecretUnreadable as failure:
        raise DeliveryFailed(str(failure)) from None
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": build_signature(secret, event_id, timestamp, body),
    }


def post(url: str, host: str, port: int, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer. DeliveryFailed where there is none within TIMEOUT_SECONDS."""
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    cut_off = CutOff(TIMEOUT_SECONDS)
    connection = open_connection(parts.scheme, host, port, cut_off)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status
    except (OSError, http.client.HTTPException) as failure:
        reason = TIMED_OUT if cut_off.has_passed else describe_failure(failure)
        raise DeliveryFailed(f"{host}: {reason}") from None
    finally:
        cut_off.cancel()
        connection.close()


class CutOff:
    """Shuts a socket down at its deadline, whatever is waiting for it: a timeout of the socket counts anew with every
    byte, and a receiver may send one now and then for ever."""

    def __init__(self, seconds: float) -> None:
        self.has_passed = False
        self.socket: socket.socket | None = None
        self.timer = threading.Timer(seconds, self.shut_down)
        self.timer.daemon = True

    def watch(self, opened: socket.socket) -> socket.socket:
        """Start for `opened`. A duplicate is kept: TLS takes the socket itself away."""
        self.socket = opened.dup()
        self.timer.start()
        return opened

    def shut_down(self) -> None:
        self.has_passed = True
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def cancel(self) -> None:
        self.timer.cancel()
        if self.socket is not None:
            self.socket.close()


def describe_failure(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return TIMED_OUT
    return str(failure)[:300] or type(failure).__name__


def open_connection(scheme: str, host: str, port: int, cut_off: CutOff) -> http.client.HTTPConnection:
    """A connection to the address that was looked at: the name may mean another one a moment later."""
    address = resolve_reachable_address(host, port, settings.NOTICE_HOSTS)
    client: http.client.HTTPConnection
    if scheme == "https":
        context = ssl.create_default_context()
        client = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
    else:
        client = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    client._create_connection = lambda _place, *more, **options: cut_off.watch(  # type: ignore[attr-defined]
        socket.create_connection(address, *more, **options)
    )
    return client


def resolve_reachable_address(host: str, port: int, allowed: Sequence[str]) -> tuple[str, int]:
    """The first address of a host; DeliveryFailed if any is one that may not be sent to."""
    try:
        addresses = [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as failure:
        raise DeliveryFailed(f"{host} is not known: {failure}") from None
    for address in addresses:
        if not is_reachable(address, port, allowed):
            raise DeliveryFailed(f"{host} is {address}, which is neither listed nor of the private network")
    return addresses[0], port


def is_reachable(address: str, port: int, allowed: Sequence[str]) -> bool:
    """Whether a listed name may stand for `address`: one that is listed itself, or a private one that is neither this
    machine's own nor of its link (cloud services tell secrets there)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    for entry in map(parse_entry, allowed):
        network = entry.network
        if network is not None and network.version == ip.version and ip in network and entry.port in (None, port):
            return True
    own = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
    return ip.is_private and not own and not ip.is_reserved
