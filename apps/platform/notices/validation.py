"""What the services of this app refuse: addresses of webhooks, kinds, channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from django.conf import settings

from apps.core.errors import Conflict, Invalid
from apps.platform.notices.kinds import list_webhook_kinds
from apps.platform.notices.states import Channel
from deepseek.collect.spec import find_uncovered
from deepseek.messages import N_, Message

MAX_URL_LENGTH = 500
MAX_NAME_LENGTH = 60
MAX_WEBHOOKS = 20  # of one project
HOSTS_SETTING = "NOTICE_HOSTS"
PORTS = {"http": 80, "https": 443}


def validate_url(url: str) -> str:
    """The address of a webhook, of a host on the operator's list. Raises Conflict while the list is empty."""
    if not settings.NOTICE_HOSTS:
        raise Conflict(
            "Webhooks are off on this plane: {setting} names no host.",
            setting=HOSTS_SETTING,
            code="webhooks_off",
            field="/url",
            hint=Message(
                "Have the operator set {setting} to the hosts that webhooks may send to.", setting=HOSTS_SETTING
            ),
        )
    url = url.strip()
    host, port = parse_address(url)
    if not is_listed(host, port):
        raise Invalid(
            "The host {host} is not on the list of allowed hosts.",
            host=f"{host}:{port}",
            code="webhook_host_not_allowed",
            field="/url",
            limit=", ".join(settings.NOTICE_HOSTS),
            hint=Message("Take a host of the list, or have the operator add it to {setting}.", setting=HOSTS_SETTING),
        )
    return url


def parse_address(url: str) -> tuple[str, int]:
    """(host, port); Invalid for what is no address of http or https that can be sent to as it is written."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", (parts.port or PORTS[parts.scheme]) if parts.scheme in PORTS else 0
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    printable = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    is_address = bool(host and port and printable and not parts.fragment and "@" not in parts.netloc)
    if not is_address or len(url) > MAX_URL_LENGTH:
        raise Invalid(
            "This is not an address that can be sent to.",  # which is not repeated: it may hold a password
            code="webhook_url",
            field="/url",
            limit=Message("http or https, {most} ASCII characters at most", most=MAX_URL_LENGTH),
            hint=N_("Write http(s)://host[:port]/path, without user name, password and #."),
        )
    return host, port


def is_listed(host: str, port: int) -> bool:
    """Whether the operator's list names this host with this port."""
    written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return find_uncovered([written], settings.NOTICE_HOSTS) == []
    except ValueError:
        return False


def validate_kinds(kinds: Iterable[str]) -> list[str]:
    """The kinds in order; Invalid for one that no webhook can be sent."""
    chosen, allowed = set(kinds), list_webhook_kinds()
    for kind in sorted(chosen):
        validate_kind(kind, "/kinds", allowed)
    return [kind for kind in allowed if kind in chosen]


def validate_kind(kind: str, field: str, allowed: Collection[str]) -> None:
    if kind not in allowed:
        raise Invalid(
            "There is no kind of notice {kind!r}.",
            kind=kind[:60],
            code="unknown_notice_kind",
            field=field,
            limit=", ".join(sorted(allowed)),
            hint=N_("Take one of the list."),
        )


def validate_channel(channel: str, field: str) -> Channel:
    if channel not in Channel.values:
        raise Invalid(
            "There is no channel {channel!r}.",
            channel=channel[:60],
            code="unknown_notice_channel",
            field=field,
            limit=", ".join(Channel.values),
            hint=N_("Take one of the list."),
        )
    return Channel(channel)
