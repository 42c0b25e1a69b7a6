"""Runs tasks on the workers of a Dask cluster, which see the same files. Needs the extra `scale`.

Whoever reaches a scheduler can run code on its workers: beyond this host only TLS with certificates of both sides is
taken. Nothing is looked up or sent elsewhere, and no dashboard is started.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.partitions.carriers import MAX_ATTEMPTS, OnDone, Outcome, WorkerLostError, attempt

CONNECT_SECONDS = 30
ADDRESS_PATTERN = re.compile(r"(?P<scheme>tcp|tls)://(?P<host>\[[0-9a-fA-F:]+\]|[^\s/:\[\]]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class ClusterAddress:
    """Where a scheduler listens, such as ``tls://10.0.0.5:8786``, and the files of this side's certificate."""

    url: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class DaskCarrier:
    """Runs the tasks on a cluster. A lost worker's tasks run on another; a lost scheduler ends the run."""

    def __init__(self, address: ClusterAddress) -> None:
        validate_address(address)
        distributed = import_distributed()
        self._as_completed = distributed.as_completed
        self._lost = (distributed.KilledWorker, CancelledError, OSError, TimeoutError)
        try:
            self._client = distributed.Client(
                address.url, security=build_security(address), timeout=CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, TimeoutError) as error:
            raise WorkerLostError(f"The scheduler {address.url} does not answer: {error}") from error

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]:
        futures = self._client.map(attempt, [function] * len(items), items, pure=False, retries=MAX_ATTEMPTS)
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            with self._client.as_current():
                for future in self._as_completed(futures):
                    future.result()
                    on_done(numbers[future.key])
                return list(self._client.gather(futures))
        except self._lost as error:
            raise WorkerLostError(f"The cluster lost a task for good: {error}") from error

    def close(self) -> None:
        """Disconnect; the cluster goes on."""
        self._client.close(timeout=5)


def validate_address(address: ClusterAddress) -> None:
    """Raise EngineError where the address is none, or would be reached without TLS beyond this host."""
    match = ADDRESS_PATTERN.fullmatch(address.url)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise EngineError(
            "cluster_address_invalid",
            "The address of the cluster is not one.",
            field="cluster",
            value=address.url[:200],
            limit="tls://HOST:PORT, or tcp://127.0.0.1:PORT on this host",
            hint=N_("Give the address that the scheduler prints when it starts."),
        )
    if match["scheme"] == "tcp" and not _is_loopback(match["host"].strip("[]")):
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
    if match["scheme"] == "tls" and missing:
        raise EngineError(
            "cluster_certificate_missing",
            "A file of the certificates for the cluster is missing: {names}.",
            names=", ".join(missing),
            field="cluster",
            value=", ".join(missing),
            limit="the authority, the certificate and the key of this side",
            hint=N_("Name three files that exist."),
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build_security(address: ClusterAddress) -> Any:
    """What a client shows, and demands of the other side."""
    security: Any = import_distributed().Security
    if address.url.startswith("tcp://"):
        return security()
    return security(
        require_encryption=True,
        tls_ca_file=str(address.ca_file),
        tls_client_cert=str(address.cert_file),
        tls_client_key=str(address.key_file),
    )


def import_distributed() -> Any:
    """The package. Raises EngineError ``extra_missing`` where it is not installed."""
    try:
        import distributed
    except ImportError as error:
        raise EngineError(
            "extra_missing",
            "This installation has no Dask.",
            field="cluster",
            limit="the extra scale",
            hint=N_("Install deepseek-offline[scale], or leave the cluster out."),
        ) from error
    return distributed
