"""The network of an attempt over several nodes: a VXLAN of its members and nobody else, whole in their namespaces.

Each member's engine has one interface, `eth0`, with an address that its rank decides. Every port of the other members
is reachable there, as collective operations need it, and nothing else: neither the machine nor what lies beyond. The
frames travel by UDP between the nodes, from and to a port for each place of a machine, so that two workers on one
machine are members of one job as well; packet rules drop what does not come from a member's node. They are neither
encrypted nor signed: the network between the nodes has to be trusted, as for torch's own traffic.

`link` of a plan: `type` "gang", `number` of the place on this machine, `network` (the VXLAN's number), `rank`,
`address` and `port` of this member, `peers` as [rank, address, port], and the paths of `ip`, `bridge` and `nft`.
Standard library only.
"""

from __future__ import annotations

import logging
import secrets
import socket
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

from workers.veth_link import remove_former_link, run

log = logging.getLogger(__name__)

FIRST_PORT = 29200  # UDP; plus the number of the place
STORE_PORT = 29500  # TCP, inside: where the first member's torchrun hosts the rendezvous store
NETWORKS = 2**24
MTU = 1350  # fits a path of 1400 bytes, as clouds have
TRIAL = "gangt"  # begins the names of links that are made for a trial


def build_address(rank: int) -> str:
    """Of a member, within the network of its job."""
    return f"169.254.200.{rank + 1}"


def build_hardware_address(rank: int) -> str:
    return f"02:67:61:6e:67:{rank:02x}"


def make_link(link: dict[str, Any], pid: int) -> None:
    """Give the process, which has a network namespace of its own, its end; the rules come first."""
    name, hardware = f"gang{link['number']}", build_hardware_address(link["rank"])
    vxlan = build_vxlan(int(link["network"]), int(link["port"]), str(IPv4Address(link["address"])))
    run([link["nft"], "-f", "-"], build_rules(link))
    remove_former_link(link["ip"], name)
    run([link["ip"], "link", "add", name, "address", hardware, *vxlan])
    run([link["ip"], "link", "set", name, "netns", str(pid), "name", "eth0"])


def build_vxlan(network: int, port: int, address: str) -> list[str]:
    """Words for `ip`. Without the bypass for a member on the same machine, which loses the checksums of TCP."""
    numbers = ["id", str(network), "dstport", str(port)]
    return ["type", "vxlan", *numbers, "local", address, "nolearning", "nolocalbypass"]


def configure_link(link: dict[str, Any]) -> None:
    """Inside the namespace, while this process may still do so: where each other member's frames go."""
    run([link["ip"], "link", "set", "eth0", "mtu", str(MTU), "up"])
    run([link["ip"], "address", "add", f"{build_address(link['rank'])}/24", "dev", "eth0"])
    for rank, address, port in link["peers"]:
        target = ["dev", "eth0", "dst", str(IPv4Address(address)), "port", str(int(port))]
        run([link["bridge"], "fdb", "append", "00:00:00:00:00:00", *target])  # to ask for an address
        run([link["bridge"], "fdb", "replace", build_hardware_address(int(rank)), *target])


def remove_link(link: dict[str, Any]) -> None:
    """The rules. The interface itself goes with the namespace."""
    name = f"gang{link['number']}"
    run([link["nft"], "-f", "-"], f"add table inet {name}\ndelete table inet {name}\n")


def build_rules(link: dict[str, Any]) -> str:
    """What a former attempt left under the same number is replaced."""
    name = f"gang{link['number']}"
    peers = ", ".join(sorted({str(IPv4Address(address)) for _rank, address, _port in link["peers"]}))
    return f"""
add table inet {name}
delete table inet {name}
table inet {name} {{
  chain input {{
    type filter hook input priority -10; policy accept;
    udp dport {int(link["port"])} ip saddr != {{ {peers} }} drop
  }}
}}
"""


def is_available(tools: dict[str, str | None]) -> bool:
    """Whether this machine makes such links: tried with one that goes at once."""
    ip = tools.get("ip")
    if ip is None or not all(tools.values()):
        return False
    remove_left_trials(ip)
    # Drawn by lot: a number that another worker is trying cannot be made again.
    network = secrets.randbelow(NETWORKS)
    name = f"{TRIAL}{network:06x}"
    try:
        with claim_trial(name):
            run([ip, "link", "add", name, *build_vxlan(network, FIRST_PORT - 1, "127.0.0.1")])
            run([ip, "link", "delete", name])
    except OSError as error:
        log.warning("no jobs over several nodes here: %s", error)
        return False
    return True


def remove_left_trials(ip: str) -> None:
    """Delete the links of workers that were killed in their trial; one that is trying has its link's name claimed."""
    for _index, name in socket.if_nameindex():
        if name.startswith(TRIAL):
            with suppress(OSError), claim_trial(name):
                run([ip, "link", "delete", name])


def claim_trial(name: str) -> socket.socket:
    """Claim the name of a link while this process lives, or until the socket is closed. OSError: another has it.

    An abstract address: there is one of a name in a network namespace, as of links, and it ends with its owner.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0{name}")
    except OSError:
        claim.close()
        raise
    return claim
