"""Rules of iptables and ip6tables: as commands to read and type, and as the chains of a saved filter table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from deepseek.isolation.rules import REFUSALS, Allowance
from deepseek.isolation.spec import METADATA_ADDRESSES

CHAIN = "DEEPSEEK_ISOLATION"
MARK = "deepseek-isolation"  # the comment on every line of ours in a chain of others
PROGRAMS = {4: "iptables", 6: "ip6tables"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
REJECT = {4: "icmp-admin-prohibited", 6: "icmp6-adm-prohibited"}
NEIGHBOURS = (133, 135, 136, 143)  # router and neighbour discovery, multicast reports: without them no IPv6 at all


def render_commands(allowances: Sequence[Allowance], *, forwarded: bool = False) -> str:
    """The rules as shell commands, IPv4 first; what is dropped is named first, as an operator would type it."""
    lines: list[str] = []
    for version, program in PROGRAMS.items():
        for chain in ("OUTPUT", "FORWARD") if forwarded else ("OUTPUT",):
            lines.append(f"{program} -P {chain} DROP")
            if chain == "FORWARD":
                lines.append(f"{program} -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
            matches = iter_matches(allowances, version, is_output=chain == "OUTPUT")
            lines += [f"{program} -A {chain} {match} -j ACCEPT" for match in matches]
            lines += [f"{program} -A {chain} {text}" for text in iter_refusals(version)]
    return "\n".join(lines) + "\n"


def iter_matches(allowances: Sequence[Allowance], version: int, *, is_output: bool = True) -> Iterator[str]:
    """What is let through: itself, the destinations, and of IPv6 what it needs to find a neighbour at all."""
    rules = [rule for rule in allowances if rule.version == version]
    if is_output:
        yield f"-d {LOOPBACK[version]}"
    for rule in rules:
        yield format_match(rule)
    if is_output:
        yield "-o lo"
    if is_output and version == 6 and rules:
        for number in NEIGHBOURS:
            yield f"-p ipv6-icmp --icmpv6-type {number}"


def format_match(rule: Allowance) -> str:
    match = f"-d {rule.network}"
    if rule.protocol:
        ports = ",".join(text.replace("-", ":") for text in rule.ports)
        kind = "-m multiport --dports" if "," in ports else "--dport"
        match += f" -p {rule.protocol} {kind} {ports}"
    return match


def iter_refusals(version: int) -> Iterator[str]:
    """One rule per kind of refusal, so that its packet counter names it; an error is sent, so nobody waits."""
    icmp = "ipv6-icmp" if version == 6 else "icmp"
    matches = {
        "metadata": [f"-d {address}" for address in METADATA_ADDRESSES if address.version == version],
        "dns": ["-p udp --dport 53", "-p tcp --dport 53"],
        "ipv6": [""] if version == 6 else [],
        "icmp": [f"-p {icmp}"] if version == 4 else [],
        "tcp": ["-p tcp"] if version == 4 else [],
        "udp": ["-p udp"] if version == 4 else [],
        "other": [""] if version == 4 else [],
    }
    for name in REFUSALS:
        for match in matches[name]:
            comment = f"-m comment --comment {MARK}:{name}"
            yield f"{match} {comment} -j REJECT --reject-with {REJECT[version]}".strip()


# -- the saved table ------------------------------------------------------------------------------------------------
RULE = re.compile(r"(\[\d+:\d+\] )?-A (\S+)")
CHAIN_LINE = re.compile(r":(\S+) (\S+) (\[\d+:\d+\])")


def add_rules(saved: str, allowances: Sequence[Allowance], version: int, *, forwarded: bool = False) -> str:
    """A filter table as `iptables-save` prints it, with the rules.

    A chain of ours stands first: it refuses what is not allowed, and hands the rest to the rules that were there,
    which therefore go on in force. What passes them all meets our accepting rules and the policy DROP.
    """
    chains, rules = split_table(remove_rules(saved, {}))
    names = ("OUTPUT", "FORWARD") if forwarded else ("OUTPUT",)
    for name in ("INPUT", "FORWARD", "OUTPUT"):
        chains.setdefault(name, f":{name} ACCEPT [0:0]")
    first, last = [], []
    for name in names:
        is_output = name == "OUTPUT"
        ours = f"{CHAIN}_{name}"
        matches = list(iter_matches(allowances, version, is_output=is_output))
        if not is_output:
            matches.insert(0, "-m conntrack --ctstate ESTABLISHED,RELATED")
        match = CHAIN_LINE.match(chains[name])
        chains[name] = f":{name} DROP {match[3] if match else '[0:0]'}"
        chains[ours] = f":{ours} - [0:0]"
        first.append(f"-A {name} -m comment --comment {MARK} -j {ours}")
        first += [f"-A {ours} {text} -j RETURN" for text in matches]
        first += [f"-A {ours} {text}" for text in iter_refusals(version)]
        last += [f"-A {name} {text} -m comment --comment {MARK} -j ACCEPT" for text in matches]
    return "\n".join(["*filter", *chains.values(), *first, *rules, *last, "COMMIT"]) + "\n"


def remove_rules(saved: str, policies: dict[str, str]) -> str:
    """The table without what `add_rules` put in, and with the policies that its chains had before."""
    chains, rules = split_table(saved)
    kept = {name: line for name, line in chains.items() if not name.startswith(CHAIN)}
    for name, policy in policies.items():
        match = CHAIN_LINE.match(kept.get(name, ""))
        if match:
            kept[name] = f":{name} {policy} {match[3]}"
    foreign_rules = [line for line in rules if MARK not in line and not _get_chain(line).startswith(CHAIN)]
    return "\n".join(["*filter", *kept.values(), *foreign_rules, "COMMIT"]) + "\n"


def read_policies(saved: str) -> dict[str, str]:
    """The policies of the built-in chains of a saved table."""
    lines = (CHAIN_LINE.match(line) for line in split_table(saved)[0].values())
    return {match[1]: match[2] for match in lines if match and match[2] != "-"}


def read_counters(saved: str) -> dict[str, int]:
    """Packets that each refusing rule has counted, out of `iptables-save -c`."""
    counters: dict[str, int] = {}
    for match in re.finditer(rf"^\[(\d+):\d+\] .*{MARK}:(\w+)", saved, re.MULTILINE):
        counters[match[2]] = counters.get(match[2], 0) + int(match[1])
    return counters


def split_table(saved: str) -> tuple[dict[str, str], list[str]]:
    """The lines of the chains by name, and those of the rules."""
    lines = saved.splitlines()
    chains = {line[1:].partition(" ")[0]: line for line in lines if line.startswith(":")}
    return chains, [line for line in lines if RULE.match(line)]


def _get_chain(line: str) -> str:
    match = RULE.match(line)
    return match[2] if match else ""
