"""Lists of networks in settings: whether an address is in one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

LOOPBACK = ("127.0.0.0/8", "::1/128")


def is_in_networks(address: str, entries: Iterable[str]) -> bool:
    """Whether the entries name this address, by itself or by its network; `loopback` stands for this host's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    networks = [part for entry in entries for part in (LOOPBACK if entry == "loopback" else (entry,))]
    return any(parsed in ipaddress.ip_network(network, strict=False) for network in networks)
