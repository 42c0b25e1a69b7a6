"""The address of a Dask cluster that is there already, and what is wrong with one. Light to import.

Whoever reaches a scheduler can run code on its workers: beyond this host only TLS with certificates of both sides is
taken.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from deepseek.job import EngineError
from deepseek.messages import N_

ADDRESS_PATTERN = re.compile(r"(?P<scheme>tcp|tls)://(?P<host>\[[0-9a-fA-F:]+\]|[^\s/:\[\]]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class ClusterAddress:
    """Where a scheduler listens, such as ``tls://10.0.0.5:8786``, and the files of this side's certificate."""

    url: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def is_address(url: str) -> bool:
    """Whether this is written as the address of a scheduler."""
    match = ADDRESS_PATTERN.fullmatch(url)
    return match is not None and 0 < int(match["port"]) < 2**16


def is_encrypted(url: str) -> bool:
    return url.startswith("tls://")


def is_on_this_host(url: str) -> bool:
    """Whether the address is one of the loopback."""
    match = ADDRESS_PATTERN.fullmatch(url)
    host = match["host"].strip("[]") if match else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def validate_address(address: ClusterAddress) -> None:
    """Raise EngineError where the address is none, or would be reached without TLS beyond this host."""
    if not is_address(address.url):
        raise EngineError(
            "cluster_address_invalid",
            "The address of the cluster is not one.",
            field="cluster",
            value=address.url[:200],
            limit="tls://HOST:PORT, or tcp://127.0.0.1:PORT on this host",
            hint=N_("Give the address that the scheduler prints when it starts."),
        )
    if not is_encrypted(address.url) and not is_on_this_host(address.url):
        raise EngineError(
            "cluster_not_encrypted",
            "The cluster would be reached without TLS.",
            field="cluster",
            value=address.url[:200],
            limit="tls:// beyond this host",
            hint=N_("Start scheduler and workers with certificates, and give those of this side too."),
        )
    files = {"ca_file": address.ca_file, "cert_file": address.cert_file, "key_file": address.key_file}
    missing = [name for name, path in files.items() if path is None or not path.is_file()]
    if is_encrypted(address.url) and missing:
        raise EngineError(
            "cluster_certificate_missing",
            "A file of the certificates for the cluster is missing: {names}.",
            names=", ".join(missing),
            field="cluster",
            value=", ".join(missing),
            limit="the authority, the certificate and the key of this side",
            hint=N_("Name three files that exist."),
        )
