"""Try to get out of this machine in every way that matters, and record who refused each attempt.

As root, with nftables, it is not the error that is believed but the packets: a counter at the last hook before the
network card tells whether any of the attempt left the machine. Without either only errors that the kernel itself gives
count as refused, and silence is `unknown`.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any, Literal

from deepseek.isolation.backends import PATH, Backend, find_backend, run_program
from deepseek.isolation.guard import format_now
from deepseek.isolation.state import State
from deepseek.job import EngineError

OUTSIDE_IPV4 = "192.0.2.1"  # RFC 5737: routed to nobody, so that an open machine disturbs nobody either
OUTSIDE_IPV6 = "2001:db8::1"  # RFC 3849
OUTSIDE_NAME = "example.com"  # RFC 2606
METADATA = "169.254.169.254"
PROBE_SECONDS = 2.0
RESOLVER_SECONDS = 6.0  # the first name server is given up after 5
TABLE = "deepseek_probe"

Verdict = Literal["refused", "passed", "unknown"]
LOCAL_REFUSALS = {errno.EPERM, errno.EACCES}  # by a packet filter of this machine
NO_ROUTE = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt. `kind`: tcp, udp, icmp, dns, ipv6 or metadata."""

    kind: str
    target: str
    protocol: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How an attempt ended. `refused_by`: rule, no_route, error, resolver, or "" where nobody refused it.

    `rule` is the counter that moved, `packets_left` what left the machine; None: it could not be counted.
    """

    kind: str
    target: str
    protocol: str
    port: int
    verdict: Verdict
    refused_by: str
    rule: str
    error: str
    packets_left: int | None
    seconds: float
    at: str


def list_probes(*, ipv4: str = OUTSIDE_IPV4, ipv6: str = OUTSIDE_IPV6, name: str = OUTSIDE_NAME) -> list[Probe]:
    """The attempts of a verification, in its order."""
    return [
        Probe("tcp", ipv4, "tcp", 443),
        Probe("udp", ipv4, "udp", 123),
        Probe("icmp", ipv4, "icmp"),
        Probe("dns", ipv4, "udp", 53),
        Probe("dns", name, "resolver"),
        Probe("ipv6", ipv6, "tcp", 443),
        Probe("ipv6", ipv6, "udp", 123),
        Probe("metadata", METADATA, "tcp", 80),
    ]


def run_probes(probes: Sequence[Probe], *, state: State | None = None) -> dict[str, Any]:
    """The report: one result per attempt, and whether every one of them was refused."""
    backend = find_backend_quietly()
    with count_packets([probe for probe in probes if probe.protocol != "resolver"]) as read_left:
        results = [run_probe(probe, backend, read_left) for probe in probes]
    worst: Verdict = "refused"
    for verdict in ("unknown", "passed"):
        if any(result.verdict == verdict for result in results):
            worst = verdict
    return {
        "format": 1,
        "host": socket.gethostname(),
        "at": format_now(),
        "verdict": worst,
        "is_privileged": os.geteuid() == 0,
        "policy_digest": state["digest"] if state and state.get("confirmed_at") else "",
        "results": [asdict(result) for result in results],
    }


def run_probe(probe: Probe, backend: Backend | None, read_left: Callable[[Probe], int | None]) -> ProbeResult:
    before = backend.read_counters() if backend else {}
    left_before, start, at = read_left(probe), time.monotonic(), format_now()
    number, is_answered = ATTEMPTS[probe.protocol](probe)
    seconds = time.monotonic() - start
    after, left_after = (backend.read_counters() if backend else {}), read_left(probe)
    left = None if left_before is None or left_after is None else left_after - left_before
    rules = [name for name, count in after.items() if count > before.get(name, 0)]
    rule = probe.kind if probe.kind in rules else next(iter(rules), "")
    verdict, refused_by = judge_attempt(probe, number, is_answered=is_answered, left=left, rule=rule)
    return ProbeResult(
        **asdict(probe),
        verdict=verdict,
        refused_by=refused_by,
        rule=rule if refused_by == "rule" else "",
        error="" if number is None else errno.errorcode.get(number, str(number)),
        packets_left=left,
        seconds=round(seconds, 3),
        at=at,
    )


def judge_attempt(
    probe: Probe, number: int | None, *, is_answered: bool, left: int | None, rule: str
) -> tuple[Verdict, str]:
    """The verdict, and who refused. `number`: the error; None: none. `left`: packets that left the machine."""
    if probe.protocol == "resolver":
        return ("passed", "") if is_answered else ("refused", "rule" if rule else "resolver")
    if is_answered or left:
        return "passed", ""
    if left == 0:
        if rule:
            return "refused", "rule"
        return "refused", "no_route" if number in NO_ROUTE else "error"
    if number in NO_ROUTE:
        return "refused", "no_route"
    return ("refused", "error") if number in LOCAL_REFUSALS else ("unknown", "")


# -- the attempts: (error number or None, whether something answered) ------------------------------------------------
Attempt = tuple[int | None, bool]


def attempt_tcp(probe: Probe) -> Attempt:
    """A connection. One that is refused by a reset was answered by whoever is there."""
    try:
        socket.create_connection((probe.target, probe.port), timeout=PROBE_SECONDS).close()
    except OSError as error:
        return get_number(error), error.errno == errno.ECONNREFUSED
    return None, True


def attempt_udp(probe: Probe) -> Attempt:
    """One datagram: a query for a name, whatever the port, since some answer it."""
    family = socket.AF_INET6 if ":" in probe.target else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as link:
            link.settimeout(PROBE_SECONDS / 2)
            link.connect((probe.target, probe.port))
            link.send(build_query(OUTSIDE_NAME))
            link.recv(512)
    except OSError as error:
        return get_number(error), error.errno == errno.ECONNREFUSED
    return None, True


def attempt_icmp(probe: Probe) -> Attempt:
    """An echo request, by a raw socket where that is allowed, else by one for pings."""
    header = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1)
    body = b"deepseek-isolation"
    packet = struct.pack("!BBHHH", 8, 0, compute_checksum(header + body), os.getpid() & 0xFFFF, 1) + body
    last: int | None = None
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        try:
            with socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP) as link:
                link.settimeout(PROBE_SECONDS / 2)
                try:
                    link.connect((probe.target, 0))
                    link.send(packet)
                    link.recv(512)
                except OSError as error:
                    return get_number(error), False
                return None, True
        except OSError:
            last = None  # this process may open no such socket: nothing was tried
    return last, False


def attempt_resolver(probe: Probe) -> Attempt:
    """Whether the machine's own name servers know an outside name: they would carry words out in it."""
    answers: list[Any] = []

    def ask() -> None:
        with suppress(OSError):
            answers.extend(socket.getaddrinfo(probe.target, 443, type=socket.SOCK_STREAM))

    thread = threading.Thread(target=ask, daemon=True)  # name servers that are silent may take half a minute
    thread.start()
    thread.join(RESOLVER_SECONDS)
    return errno.ETIMEDOUT if thread.is_alive() else None, bool(answers)


ATTEMPTS: dict[str, Callable[[Probe], Attempt]] = {
    "tcp": attempt_tcp,
    "udp": attempt_udp,
    "icmp": attempt_icmp,
    "resolver": attempt_resolver,
}


def get_number(error: OSError) -> int | None:
    return errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno


def build_query(name: str) -> bytes:
    """A DNS query for the address of a name (RFC 1035)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return secrets.token_bytes(2) + b"\x01\x00\x00\x01" + bytes(6) + labels + b"\x00\x00\x01\x00\x01"


def compute_checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\x00" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# -- packets that leave ----------------------------------------------------------------------------------------------
@contextmanager
def count_packets(probes: Sequence[Probe]) -> Iterator[Callable[[Probe], int | None]]:
    """A reader of the packets to a probe's target that have left this machine; it gives None where nobody can count.

    The table is this process's own, at the last hook before the card, and goes when the probes are over.
    """
    nft = shutil.which("nft", path=PATH)
    table = f"{TABLE}_{os.getpid()}"
    if os.geteuid() != 0 or not nft:
        yield lambda probe: None
        return
    names = {build_counter_key(probe): f"left{index}" for index, probe in enumerate(probes)}
    try:
        run_program([nft, "-f", "-"], render_counters(table, names))
    except EngineError:
        yield lambda probe: None
        return

    def read_left(probe: Probe) -> int | None:
        name = names.get(build_counter_key(probe))
        if name is None:
            return None
        listing = run_program([nft, "list", "counter", "inet", table, name], is_checked=False)
        fields = listing.split()
        return int(fields[fields.index("packets") + 1]) if "packets" in fields else None

    try:
        yield read_left
    finally:
        with suppress(EngineError):
            run_program([nft, "delete", "table", "inet", table])


def build_counter_key(probe: Probe) -> str:
    """The match for the packets of a probe."""
    address = ip_address(probe.target) if probe.protocol != "resolver" else None
    if address is None:
        return ""
    family = "ip" if address.version == 4 else "ip6"
    port = f" {probe.protocol} dport {probe.port}" if probe.port else f" meta l4proto {probe.protocol}"
    return f"{family} daddr {address}{port}"


def render_counters(table: str, names: dict[str, str]) -> str:
    lines = [f"table inet {table} {{"]
    lines += [f"\tcounter {name} {{\n\t}}" for name in names.values()]
    lines += ["\tchain left {", "\t\ttype filter hook postrouting priority 400; policy accept;"]
    lines += [f'\t\toifname != "lo" {match} counter name "{name}"' for match, name in names.items()]
    return "\n".join([*lines, "\t}", "}"]) + "\n"


def find_backend_quietly() -> Backend | None:
    """The packet filter, if this process may read it."""
    if os.geteuid() != 0:
        return None
    try:
        return find_backend()
    except EngineError:
        return None
