"""Which hosts may be collected from: how a list of them is written, and whether one list lies within another.

An entry is a host name (``wiki.bank.example``), the names below one (``*.bank.example``: any depth, not itself), an
address or a network (``10.1.0.0/16``, ``[fd00::1]``); a port behind a colon binds it to that port. Light: the web
process reads it. Nothing here looks a name up.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
NAME = re.compile(rf"(?:\*\.)?{LABEL}(?:\.{LABEL})*")
BRACKETED = re.compile(r"\[([0-9a-f:.]+)\](/\d{1,3})?(?::(\d{1,5}))?")
PLAIN = re.compile(r"([^:\[\]]+)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list of hosts: `network` or `name`; `below` means the names below it; no `port` means any."""

    name: str = ""
    below: bool = False
    network: Network | None = None
    port: int | None = None

    def covers(self, other: "Entry") -> bool:
        """Whether everything that `other` allows is allowed by this entry too."""
        if self.port is not None and self.port != other.port:
            return False
        if self.network is not None or other.network is not None:
            return self._holds(other.network)
        if self.below:
            return other.name.endswith(f".{self.name}") or (other.below and other.name == self.name)
        return self.name == other.name and not other.below

    def _holds(self, network: Network | None) -> bool:
        if isinstance(self.network, ipaddress.IPv4Network) and isinstance(network, ipaddress.IPv4Network):
            return network.subnet_of(self.network)
        if isinstance(self.network, ipaddress.IPv6Network) and isinstance(network, ipaddress.IPv6Network):
            return network.subnet_of(self.network)
        return False


def parse_entry(text: str) -> Entry:
    """The entry that `text` writes. Raises ValueError, whose text says what an entry looks like."""
    written = text.strip().lower().rstrip(".")
    bracketed, plain = BRACKETED.fullmatch(written), PLAIN.fullmatch(written)
    if bracketed:
        host, port = f"{bracketed[1]}{bracketed[2] or ''}", bracketed[3]
    elif plain:
        host, port = plain[1], plain[2]
    else:
        host, port = written, None  # an IPv6 network without brackets, or nonsense
    number = int(port) if port else None
    if number is not None and not 0 < number < 65536:
        raise ValueError(f"{text[:100]!r}: a port is 1 to 65535")
    try:
        return Entry(network=ipaddress.ip_network(host), port=number)
    except ValueError:
        pass
    name = ascii_name(host)
    if not NAME.fullmatch(name) or len(name) > 253 or re.fullmatch(r"[\d./]+", host):
        raise ValueError(
            f"{text[:100]!r} is no host: write a name, *.name, an address or a network such as 10.1.0.0/16"
        )
    return Entry(name=name.removeprefix("*."), below=name.startswith("*."), port=number)


def ascii_name(name: str) -> str:
    """A host name in lower case, without a dot at its end, and in the letters that name servers know."""
    name = name.lower().rstrip(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def uncovered(wanted: Sequence[str], allowed: Iterable[str]) -> list[int]:
    """Positions in `wanted` of the entries that no entry of `allowed` covers. Raises ValueError for a bad `allowed`."""
    entries = [parse_entry(text) for text in allowed]
    return [index for index, text in enumerate(wanted) if not any(entry.covers(parse_entry(text)) for entry in entries)]


class Hosts:
    """A list of entries, asked about hosts and addresses while a collection runs."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = [parse_entry(text) for text in entries]
        self.networks = [entry.network for entry in self.entries if entry.network is not None]

    def allows(self, host: str, port: int) -> bool:
        """Whether a URL may name `host`, a name or an address without brackets."""
        try:
            here = Entry(network=ipaddress.ip_network(host), port=port)
        except ValueError:
            here = Entry(name=ascii_name(host), port=port)
        return any(entry.covers(here) for entry in self.entries)

    def reachable(self, address: str) -> bool:
        """Whether a listed name may stand for `address`: within the listed networks, or, where none is listed, a
        private address that is not this machine's own nor of its link (cloud services tell secrets there).
        """
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        if self.networks:
            return any(found.version == network.version and found in network for network in self.networks)
        own = found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified
        return found.is_private and not own and not found.is_reserved
