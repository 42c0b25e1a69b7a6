"""The carrier that a job's engine has: processes of this node, or the workers of all nodes of the job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deepseek.job import Report
from deepseek.partitions.carriers import Carrier, CarrierObserver, open_carrier
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
) -> Iterator[Carrier]:
    """The carrier for so many processes on each node of the job; they end with the block.

    Tasks name files below `folder`, the scratch folder, and `inputs`, by slot, and no others.
    """
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


def count_workers(processes: int) -> int:
    """How many processes share the partitions, on all nodes of the job."""
    return processes * read_placement().nodes


def is_over_nodes() -> bool:
    """Whether this process's job has several nodes."""
    return read_placement().nodes > 1
