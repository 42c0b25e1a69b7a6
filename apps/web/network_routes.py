"""Whether this host knows a way out of its network: read from the kernel's own tables, without sending a packet.

It is what a plane may know that probes nothing. A default route, or a route to addresses outside the ranges of private
use, is a way out, whether or not a firewall stands in it; no such route means that no packet can leave.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.utils import timezone
from django.utils.translation import gettext as _

KERNEL = Path("/proc/net")
UP, REJECT = 0x1, 0x0200  # RTF_UP, RTF_REJECT: flags of a route
LOOK_AGAIN_SECONDS = 60
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Route:
    to: str
    device: str
    gateway: str
    leads_out: bool


@dataclass(frozen=True, slots=True)
class RouteSnapshot:
    """The routes of this host at one moment; `unknown` says why there are none to tell of."""

    at: datetime
    routes: tuple[Route, ...] = ()
    unknown: str = ""

    @property
    def ways_out(self) -> list[Route]:
        return [route for route in self.routes if route.leads_out]


_lock = threading.Lock()
_last: tuple[float, RouteSnapshot] | None = None


def get_snapshot() -> RouteSnapshot:
    """What was seen within the last minute: every page asks."""
    global _last
    with _lock:
        if _last is None or time.monotonic() - _last[0] > LOOK_AGAIN_SECONDS:
            _last = time.monotonic(), read_routes()
        return _last[1]


def read_routes(kernel: Path | None = None) -> RouteSnapshot:
    """Read both tables; a host without them (no Linux, or /proc hidden) is not known, and says so."""
    kernel = kernel or KERNEL
    try:
        routes = [*read_ipv4((kernel / "route").read_text()), *read_ipv6(read_table(kernel / "ipv6_route"))]
    except (OSError, ValueError) as failure:
        return RouteSnapshot(timezone.now(), unknown=_("its routes cannot be read: %(why)s") % {"why": failure})
    return RouteSnapshot(timezone.now(), tuple(routes))


def read_table(path: Path) -> str:
    """A kernel without IPv6 has no such table."""
    return path.read_text() if path.exists() else ""


def read_ipv4(text: str) -> list[Route]:
    """/proc/net/route: addresses as hex digits, the lowest byte first."""
    routes = []
    for line in text.splitlines()[1:]:
        device, to, gateway, flags, _ref, _use, _metric, mask, *_more = line.split()
        network = ipaddress.IPv4Network(
            (parse_little_endian(to), str(ipaddress.IPv4Address(parse_little_endian(mask)))), strict=False
        )
        routes.append(
            build_route(network, device, str(ipaddress.IPv4Address(parse_little_endian(gateway))), int(flags, 16))
        )
    return routes


def parse_little_endian(digits: str) -> int:
    return int.from_bytes(bytes.fromhex(digits), "little")


def read_ipv6(text: str) -> list[Route]:
    """/proc/net/ipv6_route: whole addresses, the length of the prefix, the flags last but one."""
    routes = []
    for line in text.splitlines():
        to, length, _from, _from_length, gateway, _metric, _ref, _use, flags, device = line.split()
        network = ipaddress.IPv6Network((int(to, 16), int(length, 16)), strict=False)
        routes.append(build_route(network, device, str(ipaddress.IPv6Address(int(gateway, 16))), int(flags, 16)))
    return routes


def build_route(network: Network, device: str, gateway: str, flags: int) -> Route:
    usable = bool(flags & UP) and not flags & REJECT and device != "lo"
    inside = network.is_private or network.is_link_local or network.is_multicast or network.is_loopback
    everything = network.prefixlen == 0
    via = "" if set(gateway) <= set("0.:") else gateway
    return Route(str(network), device, via, leads_out=usable and (everything or not inside))
