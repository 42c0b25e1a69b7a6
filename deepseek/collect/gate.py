"""The one gate between a collection and the network: what it has not admitted, this process cannot connect to.

Three doors, one list. A URL is checked before anything is asked for it; a name is looked up only if it is listed, and
only those of its addresses count that lie in the allowed networks, every time (a name that moves, moves nowhere); and
an audit hook of the interpreter refuses any connection or look-up of the whole process that did not come this way.
"""

import asyncio
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

from deepseek.collect.hosts import Hosts, to_ascii_name
from deepseek.collect.urls import PORTS, place_of
from deepseek.connector import Connector, NotAdmitted

KEPT_SECONDS = 60.0
"""How long a look-up holds."""
TOLD = 1000
"""Different hosts that the report tells of; the others are counted together."""
CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


class Refused(OSError):
    """Not admitted. `code`: scheme, host, address or name; `what`: the host or scheme that was asked for."""

    def __init__(self, code: str, what: str, message: str) -> None:
        super().__init__(message)
        self.code, self.what, self.message = code, what[:255], message


class Gate:
    """Both lists at once: the operator's, and that of the spec, which lies within it."""

    def __init__(self, listed: Sequence[str], allowed: Sequence[str]) -> None:
        self._listed, self._allowed = Hosts(listed), Hosts(allowed)
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}
        self._admitted: set[tuple[str, int]] = set()
        self._own: set[int] = set()
        self._connector: Connector | None = None
        self.refused: Counter[tuple[str, str]] = Counter()

    # -- asked before anything is opened ----------------------------------------------------------------------------
    def check(self, url: str) -> tuple[str, int]:
        """Host and port of `url`; raises Refused for a scheme or a host that is not allowed. Looks nothing up."""
        try:
            place = place_of(url)
        except ValueError:
            raise Refused("scheme", url[:60], "This is no address of a page.") from None
        if place.scheme not in PORTS or place.user or not place.host:
            raise Refused("scheme", place.scheme or "none", f"Only http and https are asked, not {place.scheme!r}.")
        self.check_host(place.host, place.port)
        return place.host, place.port

    def check_host(self, host: str, port: int) -> None:
        """Raises Refused unless both lists hold the host, a name or an address."""
        if not (self._listed.is_allowed(host, port) and self._allowed.is_allowed(host, port)):
            raise Refused("host", f"{host}:{port}", f"The host {host}:{port} is not on the list of allowed hosts.")

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses that stand for the host and may be connected to; blocks. Raises Refused if there are none."""
        self.check_host(host, port)
        key = (to_ascii_name(host), port)
        with self._lock:
            cached = self._known.get(key)
        if cached and time.monotonic() - cached[0] < KEPT_SECONDS:
            return cached[1]
        addresses = self._resolve_allowed(*key)
        with self._lock:
            self._known[key] = (time.monotonic(), addresses)
            self._admitted.update((address, port) for address in addresses)
        return addresses

    def _resolve_allowed(self, host: str, port: int) -> list[str]:
        try:
            every = self._list_addresses(host, port)
        except NotAdmitted as error:
            raise Refused(error.code, error.what, error.message) from None
        except OSError as error:
            raise Refused("name", host, f"The name {host} cannot be resolved: {error.strerror or error}.") from None
        own = {"127.0.0.1", "::1"} if port in self._own else set()
        addresses = [address for address in every if address not in own and self._allowed.is_reachable(address)]
        if not addresses:
            listed = ", ".join(every[:4])
            raise Refused("address", f"{host}:{port}", f"{host} stands for {listed}: outside the allowed networks.")
        return addresses

    def _list_addresses(self, host: str, port: int) -> list[str]:
        if self._connector is not None:
            return self._connector.resolve(host, port)
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(row[4][0]) for row in entries))

    def check_address(self, address: str, port: int) -> None:
        """Raises Refused for what no look-up gave."""
        if (address, port) not in self._admitted:
            raise Refused("address", f"{address}:{port}", f"No connection to {address}:{port} is allowed.")

    def count(self, refused: Refused) -> None:
        """Note a refusal for the report."""
        key = (refused.code, refused.what)
        with self._lock:
            if key not in self.refused and len(self.refused) >= TOLD:
                key = (refused.code, "others")
            self.refused[key] += 1

    # -- the whole process ------------------------------------------------------------------------------------------
    def accept_own_port(self, port: int) -> None:
        """Let this process talk to a program of its own on this machine; pages may not, whatever the lists say."""
        self._own.add(port)
        self._admitted.update({("127.0.0.1", port), ("::1", port)})

    def connect_through(self, connector: Connector) -> None:
        """Look names up and connect by way of another process: this one has no network but its own loopback."""
        self._connector = connector
        connector.install(lambda address: address[0] in ("127.0.0.1", "::1") and address[1] in self._own)

    def close_process(self) -> None:
        """From now on, and for ever, this process connects only to what was admitted."""
        sys.addaudithook(self._check_audit_event)

    def _check_audit_event(self, event: str, values: tuple[object, ...]) -> None:
        if event in CONNECTS:
            where = values[1]
            if isinstance(where, tuple):
                self.check_address(where[0], where[1])
        elif event in LOOK_UPS:
            host = values[0]
            if not self._can_resolve(host.decode() if isinstance(host, bytes) else host):
                raise Refused("name", str(host), f"The name {host} is not looked up.")

    def _can_resolve(self, host: object) -> bool:
        """Names on the list, whatever the port, and addresses, which need no name server."""
        if not isinstance(host, str):
            return host is None
        if host == "localhost" or host.replace(".", "").isdigit() or ":" in host:
            return True
        name_entries = [entry for entry in self._listed.entries if entry.network is None]
        return any(self._listed.is_allowed(host, entry.port or 443) for entry in name_entries)


async def resolve(gate: Gate, host: str, port: int) -> list[str]:
    """`Gate.resolve` without holding up the event loop."""
    return await asyncio.to_thread(gate.resolve, host, port)
