"""The link of an attempt to the other nodes of its job: a veth pair, and packet rules that let through just them.

Made by the shim of a worker that is root, with `ip` and `nft`. The engine's end is the only way out of its network
namespace; the rules stand on the machine's end, where the engine cannot reach them. Standard library only.

`link` of a plan: `number` of the link on this machine, `peers` as [address, port] that may be connected to, `ports` of
the engine that these peers may connect to, and the paths of `ip` and `nft`.
"""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

LINKS = 1024  # of a machine: each takes four addresses of 169.254.128.0/20, which no router passes on
SECONDS = 30.0  # the kernel makes one link at a time, and removes namespaces meanwhile


def build_addresses(number: int) -> tuple[str, str]:
    """Those of the machine's end and of the engine's."""
    network = f"169.254.{128 + number // 64}"
    return f"{network}.{number % 64 * 4 + 1}", f"{network}.{number % 64 * 4 + 2}"


def make_link(link: dict[str, Any], pid: int) -> None:
    """Give the process, which has a network namespace of its own, its end; the rules come first."""
    name, (ours, _) = f"plane{link['number']}", build_addresses(link["number"])
    run([link["nft"], "-f", "-"], build_rules(link))
    remove_former_link(link["ip"], name)
    run([link["ip"], "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    run([link["ip"], "address", "add", f"{ours}/30", "dev", name])
    run([link["ip"], "link", "set", name, "up"])


def remove_former_link(ip: str, name: str) -> None:
    """What a former attempt left under the same number: the kernel removes a namespace, and its links, some time after
    its last process, and a shim may be killed before it has given a link away."""
    if name in {present for _index, present in socket.if_nameindex()}:
        with suppress(OSError):  # it may have gone by now
            run([ip, "link", "delete", name])


def configure_link(link: dict[str, Any]) -> None:
    """Inside the namespace, while this process may still do so."""
    ours, theirs = build_addresses(link["number"])
    run([link["ip"], "address", "add", f"{theirs}/30", "dev", "eth0"])
    run([link["ip"], "link", "set", "eth0", "up"])
    run([link["ip"], "route", "add", "default", "via", ours])


def remove_link(link: dict[str, Any]) -> None:
    """The rules. The pair itself goes with the namespace."""
    name = f"plane{link['number']}"
    run([link["nft"], "-f", "-"], f"add table inet {name}\ndelete table inet {name}\n")  # `destroy` is of nft 1.0.7


def build_rules(link: dict[str, Any]) -> str:
    """What a former attempt left under the same number is replaced. Other traffic is not our affair: it is accepted."""
    name, (_, engine) = f"plane{link['number']}", build_addresses(link["number"])
    allowed = [(IPv4Address(address), int(port)) for address, port in link["peers"]]  # nothing else becomes a rule
    outward = ", ".join(f"{address} . {port}" for address, port in allowed)
    peers = ", ".join(map(str, sorted({address for address, _ in allowed})))
    ports = ", ".join(str(int(port)) for port in link["ports"])
    inward = f"ip saddr {{ {peers} }} tcp dport {{ {ports} }}"
    return f"""
add table inet {name}
delete table inet {name}
table inet {name} {{
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname "{name}" drop
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname "{name}" ct state established,related accept
    iifname "{name}" ip daddr . tcp dport {{ {outward} }} accept
    iifname "{name}" drop
    oifname "{name}" ct state established,related accept
    {f'oifname "{name}" {inward} accept' if ports else ""}
    oifname "{name}" drop
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    {f'iifname != "{name}" {inward} dnat ip to {engine}' if ports else ""}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {engine} masquerade
  }}
}}
"""


def run(command: list[str], stdin_text: str = "") -> None:
    """OSError, with what the program says, unless it succeeds."""
    try:
        ended = subprocess.run(command, input=stdin_text, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise OSError(0, "it does not end", command[0]) from None
    if ended.returncode:
        raise OSError(0, ended.stderr.strip()[:300] or f"it ended with {ended.returncode}", command[0])
