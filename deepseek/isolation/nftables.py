"""The rules as one table of nftables for IPv4 and IPv6. Other tables stay in force: a packet has to pass them all."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deepseek.isolation.rules import REFUSALS, Allowance

TABLE = "deepseek_isolation"
REFUSE = "reject with icmpx admin-prohibited"
MATCHES = {
    "metadata": "ip daddr 169.254.169.254 ",
    "dns": "meta l4proto { tcp, udp } th dport 53 ",
    "ipv6": "meta nfproto ipv6 ",
    "icmp": "meta l4proto icmp ",
    "tcp": "meta l4proto tcp ",
    "udp": "meta l4proto udp ",
    "other": "",
}


def render_table(allowances: Sequence[Allowance], *, forwarded: bool = False, armed_seconds: int = 0) -> str:
    """The table, to be fed to `nft -f`: one transaction, in which a former one of ours is replaced.

    With `armed_seconds` the kernel itself stops refusing after that time, whatever has become of the processes that
    applied the rules: the refusing rules match a set whose elements expire.
    """
    policy = "accept" if armed_seconds else "drop"
    guard = "meta nfproto @armed " if armed_seconds else ""
    lines = [f"table inet {TABLE} {{"]
    lines += [f"\tcounter refused_{name} {{\n\t}}" for name in REFUSALS]
    if armed_seconds:
        elements = ", ".join(f"{family} timeout {armed_seconds}s" for family in ("ipv4", "ipv6"))
        lines += ["\tset armed {", "\t\ttype nf_proto", "\t\tflags timeout", f"\t\telements = {{ {elements} }}", "\t}"]
    accepts = [f"\t\t{format_match(rule)} accept" for rule in allowances]
    refusals = [f'\t\t{MATCHES[name]}{guard}counter name "refused_{name}" {REFUSE}' for name in REFUSALS]
    lines += [
        "\tchain output {",
        f"\t\ttype filter hook output priority filter; policy {policy};",
        "\t\tip daddr 127.0.0.1 accept",
        '\t\toifname "lo" accept',
        *accepts,
    ]
    if any(rule.version == 6 for rule in allowances):
        kinds = "nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report"
        lines.append(f"\t\ticmpv6 type {{ {kinds} }} accept")
    lines += [*refusals, "\t}"]
    if forwarded:
        lines += [
            "\tchain forward {",
            f"\t\ttype filter hook forward priority filter; policy {policy};",
            "\t\tct state established,related accept",
            *accepts,
            *refusals,
            "\t}",
        ]
    return "\n".join([*lines, "}"]) + "\n"


def replace_table(table: str) -> str:
    """A transaction that puts the table in the place of whatever has its name; with an empty one it is removed."""
    return f"add table inet {TABLE}\ndelete table inet {TABLE}\n{table}"


def format_match(rule: Allowance) -> str:
    match = f"{'ip' if rule.version == 4 else 'ip6'} daddr {rule.network}"
    if rule.protocol:
        ports = ", ".join(rule.ports)
        match += f" {rule.protocol} dport " + (f"{{ {ports} }}" if len(rule.ports) > 1 else ports)
    return match


def read_counters(document: str) -> dict[str, int]:
    """Packets that each refusing rule has counted, out of `nft -j list counters table inet ...`."""
    rows = (row.get("counter") for row in json.loads(document).get("nftables", ()))
    return {row["name"].removeprefix("refused_"): int(row["packets"]) for row in rows if row}
