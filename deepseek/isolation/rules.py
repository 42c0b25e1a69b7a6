"""A policy with its names looked up: one allowance per destination, from which every kind of rule is rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from deepseek.isolation.spec import Policy, is_network

REFUSALS = ("metadata", "dns", "ipv6", "icmp", "tcp", "udp", "other")
"""What is refused, in the order of the rules: each has a counter, which says which rule refused a packet."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A destination that may be reached; without a protocol by every one. `reason` says where it comes from."""

    network: str
    protocol: str = ""
    ports: tuple[str, ...] = ()
    name: str = ""  # the host name whose address this is

    @property
    def version(self) -> int:
        return ip_network(self.network).version

    def covers(self, address: str, protocol: str, port: int) -> bool:
        """Whether a packet to the address, and its port, is let through."""
        target = ip_address(address)
        network = ip_network(self.network)
        if target.version != network.version or target not in network:
            return False
        return not self.protocol or (self.protocol == protocol and any(is_in_range(port, each) for each in self.ports))


def is_in_range(port: int, text: str) -> bool:
    first, _, last = text.partition("-")
    return int(first) <= port <= int(last or first)


def build_allowances(policy: Policy, addresses: Mapping[str, Sequence[str]]) -> list[Allowance]:
    """What the policy lets through, each once and in its order. A name without addresses gives nothing."""
    rules = [Allowance(network) for network in policy.networks]
    rules += [Allowance(address, name=name) for name in policy.names for address in addresses.get(name, ())]
    for rule in policy.ports:
        if is_network(rule.to):
            rules.append(Allowance(rule.to, rule.protocol, tuple(rule.ports)))
        else:
            rules += [
                Allowance(address, rule.protocol, tuple(rule.ports), rule.to) for address in addresses.get(rule.to, ())
            ]
    return list(dict.fromkeys(rules))


def is_let_through(allowances: Sequence[Allowance], address: str, protocol: str, port: int) -> bool:
    """Whether the rules let a packet to the address through; a node always reaches itself."""
    return ip_address(address).is_loopback or any(rule.covers(address, protocol, port) for rule in allowances)
