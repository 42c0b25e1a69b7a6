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

    def covers(self, entry: "Entry") -> bool:
        """Whether everything that `entry` allows is allowed by this entry too."""
        if self.port is not None and self.port != entry.port:
            return False
        if self.network is not None or entry.network is not None:
            return self._holds(entry.network)
        if self.below:
            return entry.name.endswith(f".{self.name}") or (entry.below and entry.name == self.name)
        return self.name == entry.name and not entry.below

    def _holds(self, network: Network | None) -> bool:
        if isinstance(self.network, ipaddress.IPv4Network) and isinstance(network, ipaddress.IPv4Network):
            return network.subnet_of(self.network)
        if isinstance(self.network, ipaddress.IPv6Network) and isinstance(network, ipaddress.IPv6Network):
            return network.subnet_of(self.network)
        return False


def parse_entry(text: str) -> Entry:
    """The entry that `text` writes. Raises ValueError, whose text says what an entry looks like."""
    written = text.strip().lower().rstrip(".")
    bracketed, unbracketed = BRACKETED.fullmatch(written), PLAIN.fullmatch(written)
    if bracketed:
        host, port = f"{bracketed[1]}{bracketed[2] or ''}", bracketed[3]
    elif unbracketed:
        host, port = unbracketed[1], unbracketed[2]
    else:
        host, port = written, None  # an IPv6 network without brackets, or nonsense
    number = int(port) if port else None
    if number is not None and not 0 < number < 65536:
        raise ValueError(f"{text[:100]!r}: a port is 1 to 65535")
    try:
        return Entry(network=ipaddress.ip_network(host), port=number)
    except ValueError:
        pass
    name = to_ascii_name(host)
    if not NAME.fullmatch(name) or len(name) > 253 or re.fullmatch(r"[\d./]+", host):
        raise ValueError(
            f"{text[:100]!r} is no host: write a name, *.name, an address or a network such as 10.1.0.0/16"
        )
    return Entry(name=name.removeprefix("*."), below=name.startswith("*."), port=number)


def to_ascii_name(name: str) -> str:
    """A host name in lower case, without a dot at its end, and in the letters that name servers know."""
    name = name.lower().rstrip(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def find_uncovered(listed: Sequence[str], allowed: Iterable[str]) -> list[int]:
    """Positions in `listed` of the entries that no entry of `allowed` covers. Raises ValueError for a bad `allowed`."""
    entries = [parse_entry(text) for text in allowed]
    return [index for index, text in enumerate(listed) if not any(entry.covers(parse_entry(text)) for entry in entries)]


class Hosts:
    """A list of entries, asked about hosts and addresses while a collection runs."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = [parse_entry(text) for text in entries]
        self.networks = [entry.network for entry in self.entries if entry.network is not None]

    def is_allowed(self, host: str, port: int) -> bool:
        """Whether a URL may name `host`, a name or an address without brackets."""
        try:
            target = Entry(network=ipaddress.ip_network(host), port=port)
        except ValueError:
            target = Entry(name=to_ascii_name(host), port=port)
        return any(entry.covers(target) for entry in self.entries)

    def is_reachable(self, address: str) -> bool:
        """Whether a listed name may stand for `address`: within the listed networks, or, where none is listed, a
        private address that is not this machine's own nor of its link (cloud services tell secrets there).
        """
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if self.networks:
            return any(ip.version == network.version and ip in network for network in self.networks)
        own = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
        return ip.is_private and not own and not ip.is_reserved
