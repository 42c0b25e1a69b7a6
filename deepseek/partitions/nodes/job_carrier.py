"""The carrier that a job's engine has: processes of this node, the workers of all nodes of the job, or a cluster's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deepseek.job import Report
from deepseek.partitions.carriers import Carrier, CarrierObserver, open_carrier
from deepseek.partitions.cluster import open_cluster_carrier
from deepseek.partitions.dask_carrier import DaskCarrier
from deepseek.partitions.nodes.membership import read_membership
from deepseek.torchrun.placement import read_placement


@contextmanager
def open_job_carrier(
    processes: int,
    *,
    folder: Path,
    inputs: Mapping[str, Path],
    report: Report,
    observer: CarrierObserver | None = None,
    on_cluster: bool = False,
) -> Iterator[Carrier]:
    """The carrier for so many processes on each node of the job; they end with the block. `on_cluster`: the operator's
    cluster carries the tasks in their place.

    Tasks name files below `folder`, the scratch folder, and `inputs`, by slot, and no others.
    """
    if on_cluster:
        with open_cluster_carrier(folder, report=report, observer=observer) as cluster_carrier:
            yield cluster_carrier
        return
    membership = read_membership()
    if membership is None:
        with open_carrier(processes, observer=observer) as carrier:
            yield carrier
        return
    from deepseek.partitions.nodes.carrier import open_nodes_carrier

    with open_nodes_carrier(
        membership, processes, folder=folder, inputs=inputs, report=report, observer=observer
    ) as nodes_carrier:
        yield nodes_carrier


def count_workers(carrier: Carrier, processes: int) -> int:
    """How many processes share the partitions: the cluster's workers, or so many on each node of the job."""
    return carrier.workers if isinstance(carrier, DaskCarrier) else processes * read_placement().nodes


def is_over_nodes() -> bool:
    """Whether this process's job has several nodes."""
    return read_placement().nodes > 1
