"""Isolation: the packet filter, and attempts to get out that must be refused.

The default targets are addresses for documentation (RFC 5737, RFC 3849): nobody answers there. An attempt that ends in
silence proves nothing by itself; it counts as refused only where the filter drops what leaves.
"""

from __future__ import annotations

import re

from deepseek.doctor.findings import Finding, Unmeasured, failed, passed, warned
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule

DENIED = ("denied", "unreachable", "refused")
NFT_POLICY = re.compile(r"type filter hook output [^;]{0,60};\s{0,20}policy (\w{1,20});")


def read_filter(host: Host) -> str:
    """The rules of nftables and iptables as text. Raises Unmeasured where neither may be read."""
    texts, problems = [], []
    for words in (("nft", "list", "ruleset"), ("iptables-save",), ("ip6tables-save",)):
        output = host.run(*words)
        if output.is_missing:
            continue
        if output.code:
            problems.append(f"{words[0]}: {output.describe_failure()}")
        else:
            texts.append(output.stdout)
    if not texts:
        raise Unmeasured(
            f"The packet filter cannot be read: {'; '.join(problems) or 'neither nft nor iptables is here'}."
        )
    return "\n".join(texts)


def drops_output(host: Host) -> bool:
    """Whether what leaves is dropped unless a rule admits it."""
    text = read_filter(host)
    policies = [*NFT_POLICY.findall(text), *re.findall(r"^:OUTPUT (\w+)", text, re.MULTILINE)]
    return any(policy.lower() == "drop" for policy in policies)


def check_rules(host: Host, rule: Rule) -> Finding:
    count = len(
        re.findall(r"^-A OUTPUT|^[ \t]{1,40}(?:ip|ip6|oif|oifname|ct|meta|tcp|udp)\b", read_filter(host), re.MULTILINE)
    )
    if not count:
        return failed("The packet filter has no rule: everything may leave.")
    return passed(f"The packet filter has {count} rules.")


def check_default(host: Host, rule: Rule) -> Finding:
    if not drops_output(host):
        return failed("What leaves is accepted unless a rule forbids it.")
    return passed("What leaves is dropped unless a rule admits it.")


def check_attempt(host: Host, protocol: str, address: str, port: str) -> Finding:
    """An attempt must be refused: at once, or in silence by a filter that drops."""
    outcome = host.probe("reach", protocol, address, port)["outcome"]
    where = f"{protocol.upper()} to {address}" + (f" port {port}" if port != "0" else "")
    if outcome == "connected":
        return failed(f"{where} was answered.")
    if outcome in DENIED:
        return passed(f"{where} was refused by this machine or its network ({outcome}).")
    try:
        is_dropped = drops_output(host)
    except Unmeasured as reason:
        raise Unmeasured(f"{where} was not answered, and whether it left is not known. {reason}") from None
    if is_dropped:
        return passed(f"{where} was dropped.")
    return failed(f"{where} was sent: no rule refuses it.")


def check_tcp(host: Host, rule: Rule) -> Finding:
    return check_attempt(host, "tcp", rule.text("target"), f"{rule.number('port'):g}")


def check_udp(host: Host, rule: Rule) -> Finding:
    return check_attempt(host, "udp", rule.text("target"), f"{rule.number('port'):g}")


def check_icmp(host: Host, rule: Rule) -> Finding:
    return check_attempt(host, "icmp", rule.text("target"), "0")


def check_dns(host: Host, rule: Rule) -> Finding:
    answer = host.probe("resolve", rule.text("name"))
    if answer["addresses"]:
        return failed(f"The outside name {rule.text('name')} is resolved to {', '.join(answer['addresses'][:3])}.")
    return passed(f"The outside name {rule.text('name')} is not resolved.")


def check_ipv6(host: Host, rule: Rule) -> Finding:
    lines = (host.read("/proc/net/if_inet6") or "").splitlines()
    if not any(len(fields := line.split()) == 6 and fields[3] == "00" for line in lines):
        return passed("No interface has a global IPv6 address.")
    return check_attempt(host, "tcp", rule.text("target"), f"{rule.number('port'):g}")


def check_metadata(host: Host, rule: Rule) -> Finding:
    return check_attempt(host, "tcp", rule.text("target"), f"{rule.number('port'):g}")


def check_environment(host: Host, rule: Rule) -> Finding:
    proxies = [name for name in rule.texts("proxies") if host.environment.get(name)]
    if proxies:
        return failed(f"A proxy is set: {', '.join(proxies)}. Programs leave through it.")
    switches = dict(text.split("=", 1) for text in rule.texts("switches"))
    missing = [f"{name}={value}" for name, value in switches.items() if host.environment.get(name) != value]
    if url := host.environment.get("RAY_USAGE_STATS_REPORT_URL"):
        return failed(f"Ray is told to report its use to {url[:80]}.")
    if missing:
        return warned(f"Not set: {', '.join(missing)}.")
    return passed("No proxy is set, and libraries are told to stay offline.")


CHECKS = {
    "iso.rules": check_rules,
    "iso.default": check_default,
    "iso.tcp": check_tcp,
    "iso.udp": check_udp,
    "iso.icmp": check_icmp,
    "iso.dns": check_dns,
    "iso.ipv6": check_ipv6,
    "iso.metadata": check_metadata,
    "iso.env": check_environment,
}
