"""Lists of networks in settings: whether an address is in one, and from where administrators may come."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from django.conf import settings

from apps.core.errors import Refused
from deepseek.messages import N_

LOOPBACK = ("127.0.0.0/8", "::1/128")


def is_in_networks(address: str, entries: Iterable[str]) -> bool:
    """Whether the entries name this address, by itself or by its network; `loopback` stands for this host's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    networks = [part for entry in entries for part in (LOOPBACK if entry == "loopback" else (entry,))]
    return any(parsed in ipaddress.ip_network(network, strict=False) for network in networks)


def require_admin_network(system_role: str | None, address: str) -> None:
    """Raise Refused `network_not_allowed` for an administrator who comes from outside of ADMIN_ALLOW.

    GB/T 22239-2019 8.1.4.4 c. `address` is the client's: of who comes by the TLS proxy the one that the proxy saw.
    """
    if not system_role or not settings.ADMIN_ALLOW or is_in_networks(address, settings.ADMIN_ALLOW):
        return
    raise Refused(
        "Administrators do not work from {address}.",
        address=address or "this address",
        code="network_not_allowed",
        action="session.administer",
        field="address",
        limit=", ".join(settings.ADMIN_ALLOW),
        hint=N_("Come from a network of ADMIN_ALLOW, or ask the operator to add yours."),
    )
