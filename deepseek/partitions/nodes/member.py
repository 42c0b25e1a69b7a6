"""What a node that is not the first does in a job whose table is in partitions: it runs workers until the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from deepseek.job import Report, Result
from deepseek.partitions.carriers import WorkerLostError
from deepseek.partitions.nodes.membership import read_membership
from deepseek.partitions.nodes.supervisor import POLL_SECONDS, NodeProcesses


def run(spec: BaseModel, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Run the workers of this node; returns an empty result once the first node has ended the cluster.

    Raises WorkerLostError where the cluster is gone without that, or the workers do not stay.
    """
    membership = read_membership()
    if membership is None:
        raise RuntimeError("a member of a job over several nodes is told of the others")
    folder = Path(tempfile.mkdtemp(prefix=".partitions-", dir=out.absolute().parent))
    processes = int(getattr(spec, "processes", 1))
    report.log(f"{processes} worker processes for the partitions of the first node")
    started = NodeProcesses(membership, folder, inputs, processes, report)
    try:
        while not started.is_closed:
            time.sleep(POLL_SECONDS)
            if started.has_lost_scheduler:
                raise WorkerLostError("The process that hands out the partitions (the Dask scheduler) is gone.")
            started.replace_lost()
            if started.is_given_up:
                raise WorkerLostError("The worker processes of this node do not stay; the log says why.")
        return Result(())
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)
