"""The network policy of a node: what it may send to. Everything that is not named is refused. Light to import."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

STRICT = ConfigDict(frozen=True, extra="forbid")
MAX_NETWORKS = 256
MAX_NAMES = 64
MAX_PORT_RULES = 256
MAX_PORTS_PER_RULE = 15  # of one rule of iptables (-m multiport)
WIDEST_PREFIX = {4: 8, 6: 7}  # 10.0.0.0/8 and fc00::/7 are the widest private networks
METADATA_ADDRESSES = (ip_address("169.254.169.254"), ip_address("fd00:ec2::254"))
"""Where clouds serve the credentials of a machine. No policy may open it."""
LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*")
PORT = re.compile(r"([0-9]{1,5})(-([0-9]{1,5}))?")

Network = IPv4Network | IPv6Network


def parse_network(text: Any) -> str:
    """A network or an address in its usual spelling, such as 192.168.1.0/24. Raises a spec error for any other."""
    if not isinstance(text, str):
        raise build_spec_error("bad_network", N_("A network is a text such as 192.168.1.0/24."))
    try:
        network = ip_network(text.strip(), strict=False)
    except ValueError:
        raise build_spec_error(
            "bad_network", N_("{text!r} is not a network: write it as 192.168.1.0/24 or fd00:1::/64."), text=text[:60]
        ) from None
    if ip_interface(text.strip()).ip != network.network_address:
        raise build_spec_error(
            "bad_network",
            N_("{text} is an address inside a network: write {network} for the network."),
            text=text[:60],
            network=str(network),
        )
    if network.prefixlen < WIDEST_PREFIX[network.version]:
        raise build_spec_error(
            "network_too_wide",
            N_("{network} is too wide to isolate anything: a prefix of IPv{version} has at least {limit} bits."),
            network=str(network),
            version=network.version,
            limit=WIDEST_PREFIX[network.version],
        )
    for address in METADATA_ADDRESSES:
        if address.version == network.version and address in network:
            raise build_spec_error(
                "metadata_allowed",
                N_(
                    "{network} contains {address}, where clouds serve the credentials of a machine: name narrower"
                    " networks."
                ),
                network=str(network),
                address=str(address),
            )
    return format_network(network)


def format_network(network: Network) -> str:
    """The network; that of a single address without its prefix."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def parse_host_name(text: Any) -> str:
    """A host name in lower case. Raises a spec error for anything else, an address too."""
    if not isinstance(text, str) or not HOST_NAME.fullmatch(text) or is_network(text):
        raise build_spec_error(
            "bad_name", N_("{text!r} is not a host name such as plane.internal."), text=str(text)[:60]
        )
    return text.lower()


def is_network(text: str) -> bool:
    try:
        ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def parse_destination(text: Any) -> str:
    """A network, an address or a host name."""
    if isinstance(text, str) and not is_network(text) and HOST_NAME.fullmatch(text) and not text[-1].isdigit():
        return parse_host_name(text)
    return parse_network(text)


def parse_ports(value: Any) -> str:
    """A port or a range of them, as 443 or 8000-8100."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = PORT.fullmatch(text) if isinstance(text, str) else None
    if match:
        first, last = int(match[1]), int(match[3] or match[1])
        if 1 <= first <= last <= 65535:
            return f"{first}-{last}" if last > first else str(first)
    raise build_spec_error(
        "bad_port",
        N_("{text!r} is not a port: write one from 1 to 65535, or a range as 8000-8100."),
        text=str(value)[:40],
    )


NetworkText = Annotated[str, BeforeValidator(parse_network)]
NameText = Annotated[str, BeforeValidator(parse_host_name)]
DestinationText = Annotated[str, BeforeValidator(parse_destination)]
PortText = Annotated[str, BeforeValidator(parse_ports)]


class PortRule(BaseModel):
    """A destination of which only some ports may be reached."""

    model_config = STRICT

    to: DestinationText = Field(title="Destination", description="A network, an address or a host name.")
    protocol: Literal["tcp", "udp"] = Field("tcp", title="Protocol", description="tcp or udp.")
    ports: list[PortText] = Field(
        min_length=1,
        max_length=MAX_PORTS_PER_RULE,
        title="Ports",
        description="Ports from 1 to 65535, or ranges as 8000-8100.",
    )


class Policy(BaseModel):
    """Let a node send to itself and to what is named here, and refuse everything else."""

    model_config = STRICT

    networks: list[NetworkText] = Field(
        [],
        max_length=MAX_NETWORKS,
        title="Networks",
        description="Networks and addresses that may be reached on every port, IPv4 and IPv6.",
    )
    names: list[NameText] = Field(
        [],
        max_length=MAX_NAMES,
        title="Names",
        description="Host names whose addresses may be reached on every port; a node looks them up when it applies.",
    )
    ports: list[PortRule] = Field(
        [], max_length=MAX_PORT_RULES, title="Ports", description="Destinations of which only some ports are reached."
    )
    forwarded: bool = Field(
        False,
        title="Forwarded packets",
        description="Refuse also what containers send through the node. Their networks then have to be named as well.",
    )

    def list_names(self) -> list[str]:
        """The host names in it, sorted."""
        targets = (rule.to for rule in self.ports)
        return sorted({*self.names, *(text for text in targets if not is_network(text))})


def build_digest(policy: Policy) -> str:
    """The SHA-256 of the policy, by which a report says what its node has applied."""
    text = json.dumps(policy.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def merge_policies(policy: Policy, *, networks: Sequence[str] = (), names: Sequence[str] = ()) -> Policy:
    """The policy with further networks and names. Raises ValidationError for one that is wrong."""
    document = policy.model_dump(mode="json")
    document["networks"] = [*document["networks"], *networks]
    document["names"] = [*document["names"], *names]
    return Policy.model_validate(document)
