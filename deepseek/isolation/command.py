"""``deepseek isolate render|apply|verify|revert``: let this machine send only to what a policy names, and prove it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deepseek.isolation.state import DEFAULT_FOLDER, StateFolder
from deepseek.job import EngineError
from deepseek.messages import N_

NOT_REFUSED = 1
OUTCOMES = {
    "plane_lost": "the plane did not answer any more; what was there before is in force again",
    "requested": "it was asked for; what was there before is in force again",
    "guard_died": "the watching process ended without a word; what was there before is in force again",
}


def isolate_machine(words: Sequence[str]) -> int:
    """Run the action that the first word names."""
    actions: dict[str, Callable[[Sequence[str]], int]] = {
        "render": render_rules,
        "apply": apply_rules,
        "verify": verify_rules,
        "revert": revert_rules,
    }
    if words and words[0] in actions:
        return actions[words[0]](words[1:])
    parser = argparse.ArgumentParser(
        prog="deepseek isolate", description="Let this machine send only to what a policy names, and prove it."
    )
    parser.add_argument("action", choices=list(actions), help="what to do; --help behind it lists its flags")
    parser.parse_args(words[:1])
    return 2


def render_rules(words: Sequence[str]) -> int:
    """Print the rules of a policy; nothing is changed, and no right is needed."""
    parser = build_parser("render", "Print the rules of a policy. Nothing is changed.")
    add_policy_flags(parser)
    parser.add_argument(
        "--format",
        choices=("all", "iptables", "nftables"),
        default="all",
        help="iptables: commands for IPv4 and IPv6; nftables: one table for both; all: one after the other (default)",
    )
    arguments = parser.parse_args(words)
    from deepseek.isolation.hosts import look_up_all
    from deepseek.isolation.iptables import render_commands
    from deepseek.isolation.nftables import render_table
    from deepseek.isolation.rules import build_allowances

    policy = load_policy(arguments)
    allowances = build_allowances(policy, look_up_all(policy.list_names()))
    texts = {
        "iptables": render_commands(allowances, forwarded=policy.forwarded),
        "nftables": render_table(allowances, forwarded=policy.forwarded),
    }
    if arguments.format == "all":
        print("# iptables and ip6tables: commands for a shell")
        print(texts["iptables"])
        print("# nftables: the same policy as a file for nft -f, instead of the commands above")
        print(texts["nftables"], end="")
    else:
        print(texts[arguments.format], end="")
    return 0


def apply_rules(words: Sequence[str]) -> int:
    """Put a policy in force, and say whether it stayed so."""
    from deepseek.isolation.apply import WATCH_SECONDS, apply_policy

    parser = build_parser(
        "apply",
        "Put a policy in force, in one transaction. For a minute a process of its own watches the plane: if that is\n"
        "lost, what was there before comes back, even if this command or its terminal is gone.",
    )
    add_policy_flags(parser)
    add_state_flag(parser)
    parser.add_argument("--plane", metavar="URL", default="", help="the plane (default: DEEPSEEK_URL)")
    parser.add_argument("--from-plane", action="store_true", help="apply the policy of the plane, with DEEPSEEK_TOKEN")
    add_node_flags(parser)
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=parse_watch,
        default=WATCH_SECONDS,
        help=f"watch the plane for so long, 1 to 600 (default: {WATCH_SECONDS})",
    )
    arguments = parser.parse_args(words)
    from deepseek.isolation.hosts import parse_plane

    address = arguments.plane or os.environ.get("DEEPSEEK_URL", "")
    if arguments.from_plane:
        from deepseek.isolation.plane import fetch_policy

        policy = fetch_policy(address, arguments.ca, arguments.node)
    else:
        policy = load_policy(arguments)
    plane = parse_plane(address)
    folder = StateFolder(arguments.state)
    outcome = apply_policy(policy, plane, folder, watch_seconds=arguments.watch)
    if outcome["result"] == "confirmed":
        print(f"applied: the plane {plane.url} answered for {arguments.watch} s; the rules are in force")
        return 0
    reason = OUTCOMES.get(outcome["reason"], outcome["reason"])
    error = EngineError(
        "isolation_reverted",
        N_("The rules are not in force: {reason}."),
        reason=reason,
        field="--plane",
        value=plane.url,
    )
    error.exit_code = 1
    raise error


def verify_rules(words: Sequence[str]) -> int:
    """Try to get out in every way, print who refused, and return 0 only if every attempt was refused."""
    from deepseek.isolation import probes

    parser = build_parser(
        "verify",
        "Try TCP, UDP, ICMP, DNS, IPv6 and the metadata address, and print who refused each attempt. The default\n"
        "targets belong to nobody (RFC 5737, RFC 3849). Exit code 0: all refused; 1: one came through, or is unknown.",
    )
    add_state_flag(parser)
    parser.add_argument(
        "--target", metavar="ADDRESS", default=probes.OUTSIDE_IPV4, type=parse_ipv4, help="outside IPv4"
    )
    parser.add_argument(
        "--target6", metavar="ADDRESS", default=probes.OUTSIDE_IPV6, type=parse_ipv6, help="outside IPv6"
    )
    parser.add_argument("--name", default=probes.OUTSIDE_NAME, help="a name that only outside name servers know")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--send", action="store_true", help="send the report to the plane, with DEEPSEEK_TOKEN")
    parser.add_argument("--plane", metavar="URL", default="", help="the plane (default: DEEPSEEK_URL)")
    add_node_flags(parser)
    arguments = parser.parse_args(words)
    attempts = probes.list_probes(ipv4=arguments.target, ipv6=arguments.target6, name=arguments.name)
    report = probes.run_probes(attempts, state=StateFolder(arguments.state).read())
    if arguments.json:
        print(json.dumps(report, indent=1))
    else:
        print_report(report)
    if arguments.send:
        from deepseek.isolation.plane import send_report

        address = arguments.plane or os.environ.get("DEEPSEEK_URL", "")
        number = send_report(address, arguments.ca, arguments.node, report)
        print(f"sent to {address} as report {number}", file=sys.stderr)
    return 0 if report["verdict"] == "refused" else NOT_REFUSED


def revert_rules(words: Sequence[str]) -> int:
    """Take the rules away."""
    parser = build_parser(
        "revert", "Take the rules of every policy away; what was there before them is in force again."
    )
    add_state_flag(parser)
    arguments = parser.parse_args(words)
    from deepseek.isolation.apply import revert_policy

    is_changed = revert_policy(StateFolder(arguments.state))
    print(
        "reverted: what was there before is in force again" if is_changed else "nothing to revert: no policy is applied"
    )
    return 0


def print_report(report: dict[str, Any]) -> None:
    for row in report["results"]:
        target = f"{row['protocol']} {row['target']}" + (f" port {row['port']}" if row["port"] else "")
        by = f"rule {row['rule']}" if row["rule"] else row["refused_by"].replace("_", " ")
        details = ", ".join(filter(None, (by, row["error"], f"{row['seconds']:.2f} s")))
        print(f"{row['kind']:10}{target:40}{row['verdict']:9}{details}")
    print(f"verdict: {report['verdict']}")
    if report["verdict"] == "unknown" and not report["is_privileged"]:
        print("Run it as root: only root can tell whether a packet left the machine.")


def build_parser(action: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"deepseek isolate {action}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_policy_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "policy", metavar="POLICY", nargs="?", type=Path, help="a TOML or JSON file (docs/isolation.md)"
    )
    parser.add_argument(
        "--network", metavar="NETWORK", action="append", default=[], help="may be reached; any number of them"
    )
    parser.add_argument(
        "--name", metavar="HOST", action="append", default=[], help="may be reached; any number of them"
    )


def add_state_flag(parser: argparse.ArgumentParser) -> None:
    words = f"folder that keeps what is applied (default: {DEFAULT_FOLDER})"
    parser.add_argument("--state", metavar="DIR", type=Path, default=DEFAULT_FOLDER, help=words)


def add_node_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", metavar="NAME", default="", help="name of this node (default: its host name)")
    words = "PEM file with the site's own certificate authority (default: DEEPSEEK_CA)"
    parser.add_argument("--ca", metavar="FILE", default="", help=words)


def load_policy(arguments: argparse.Namespace) -> Any:
    """The policy of the arguments. Raises EngineError ``no_policy`` where they name none."""
    from deepseek.isolation.policy_file import read_policy

    if arguments.policy is None and not arguments.network and not arguments.name:
        raise EngineError(
            "no_policy",
            N_("No policy is named."),
            field="POLICY",
            limit="a file, --network or --name",
            hint=N_("For instance: deepseek isolate render --network 192.168.1.0/24"),
        )
    return read_policy(arguments.policy, networks=arguments.network, names=arguments.name)


def parse_watch(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) < 5 else 0
    if not 1 <= number <= 600:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of seconds from 1 to 600")
    return number


def parse_ipv4(text: str) -> str:
    return parse_address(text, 4)


def parse_ipv6(text: str) -> str:
    return parse_address(text, 6)


def parse_address(text: str, version: int) -> str:
    from ipaddress import ip_address

    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is no IPv{version} address")
    return str(address)
