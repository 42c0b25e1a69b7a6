"""The operator's Dask cluster of this job: whoever starts the engine says in its environment where it is.

Files of certificates lie in the folder that PARTITION_CREDENTIALS names, as for a job over nodes. The cluster's workers
see the job's folder under the same path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deepseek.connector import VARIABLE
from deepseek.job import EngineError, Report
from deepseek.loopback_relay import open_relay
from deepseek.messages import N_
from deepseek.partitions.carriers import Carrier, CarrierObserver
from deepseek.partitions.cluster_address import ClusterAddress
from deepseek.partitions.nodes.membership import CREDENTIALS, Credentials

CLUSTER = "PARTITION_CLUSTER"
LABEL = "PARTITION_CLUSTER_LABEL"  # of the node, the job and its attempt, for the keys of its tasks


def read_cluster(environment: Mapping[str, str] = os.environ) -> ClusterAddress:
    """The address that this process was given. Raises EngineError ``cluster_missing`` where it was given none."""
    url, folder = environment.get(CLUSTER, ""), environment.get(CREDENTIALS, "")
    if not url:
        raise EngineError(
            "cluster_missing",
            "There is no cluster for this run.",
            field="/cluster",
            value="true",
            limit="false, or a job of a plane whose operator has configured a cluster",
            hint=N_("Leave the cluster out: processes of this machine share the work."),
        )
    if not folder:
        return ClusterAddress(url)
    credentials = Credentials(Path(folder))
    return ClusterAddress(url, credentials.authority, credentials.certificate, credentials.key)


def open_way(address: ClusterAddress) -> ClusterAddress:
    """The address as this process reaches it: in a sandbox a port of its loopback, which leads to the scheduler."""
    if not os.environ.get(VARIABLE):
        return address
    scheme, _, place = address.url.partition("://")
    relay = open_relay(f"http://{place}")  # whose bytes it passes on as they are
    here = f"{scheme}://{relay.url.partition('://')[2]}"
    return ClusterAddress(here, address.ca_file, address.cert_file, address.key_file)


@contextmanager
def open_cluster_carrier(folder: Path, *, report: Report, observer: CarrierObserver | None = None) -> Iterator[Carrier]:
    """The carrier of the cluster, whose workers see `folder`; it goes on after the block.

    Raises EngineError where there is no cluster, or one of its workers does not fit, and TransientError where it does
    not answer.
    """
    address = read_cluster()
    from deepseek.partitions.dask_carrier import DaskCarrier

    label = os.environ.get(LABEL, "")
    carrier = DaskCarrier(open_way(address), observer, public_url=address.url, label=label)
    try:
        workers = carrier.require_workers(folder.absolute())
        report.log(f"the cluster {address.url} has {workers} workers")
        yield carrier
    finally:
        carrier.close()
