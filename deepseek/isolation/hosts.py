"""Names and addresses: what this machine takes a host name for, and whether an address can be connected to."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from deepseek.job import EngineError
from deepseek.messages import N_

DEFAULT_PORTS = {"http": 80, "https": 443}
CONNECT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class PlaneAddress:
    """Where the plane is: its URL, and the addresses of its host with the port."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]


def look_up(name: str) -> list[str]:
    """The addresses of a host name, by the hosts file and the name servers of this machine; empty where unknown."""
    try:
        rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = {str(row[4][0]).partition("%")[0] for row in rows}
    return sorted(addresses, key=lambda text: (ip_address(text).version, ip_address(text)))


def look_up_all(names: Iterable[str]) -> dict[str, list[str]]:
    """The addresses of every name. Raises EngineError ``unknown_name`` for one that has none."""
    addresses = {name: look_up(name) for name in names}
    for name, found in addresses.items():
        if not found:
            raise EngineError(
                "unknown_name",
                N_("The name {name} has no address on this machine."),
                name=name,
                field="/names",
                value=name,
                limit="a name that the hosts file or the inner name server knows",
                hint=N_("Enter it in /etc/hosts, or name its address under networks."),
            )
    return addresses


def parse_plane(url: str) -> PlaneAddress:
    """The plane of a URL. Raises EngineError ``bad_plane`` or ``unknown_name``."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not port:
        raise EngineError(
            "bad_plane",
            N_("{url!r} is not the address of a plane."),
            url=url[:100],
            field="--plane",
            value=url[:100],
            limit="for instance https://plane.internal:8443",
        )
    return PlaneAddress(url, parts.hostname, port, tuple(look_up_all([parts.hostname])[parts.hostname]))


def can_connect(address: str, port: int) -> bool:
    """Whether a TCP connection is accepted within CONNECT_SECONDS."""
    try:
        socket.create_connection((address, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
