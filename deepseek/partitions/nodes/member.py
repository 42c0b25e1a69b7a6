"""What a node that is not the first does in a job whose table is in partitions: it runs workers until the end.

They start once the first node's scheduler listens, and again where it was out of reach. Before that the first node may
read a table for long, so nothing here has a limit of time: it decides how the attempt ends, and this process ends with
the attempt.
"""

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
from deepseek.partitions.nodes.supervisor import LISTEN_SECONDS, POLL_SECONDS, NodeProcesses


def run(spec: BaseModel, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Run the workers of this node; returns an empty result once the first node has ended the cluster.

    Raises WorkerLostError where the workers do not stay.
    """
    membership = read_membership()
    if membership is None:
        raise RuntimeError("a member of a job over several nodes is told of the others")
    folder = Path(tempfile.mkdtemp(prefix=".partitions-", dir=out.absolute().parent))
    processes = int(getattr(spec, "processes", 1))
    try:
        while True:
            while not membership.is_listening(LISTEN_SECONDS):
                time.sleep(POLL_SECONDS)
            report.log(f"{processes} worker processes for the partitions of the first node")
            if run_workers(NodeProcesses(membership, folder, inputs, processes, report)):
                return Result(())
            report.log("The scheduler on the first node is gone: this node waits for it.", level="warning")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_workers(started: NodeProcesses) -> bool:
    """Replace lost workers until the first node has ended the cluster; False where the cluster is gone without that.

    Raises WorkerLostError where the workers do not stay.
    """
    try:
        while not started.is_closed:
            time.sleep(POLL_SECONDS)
            if started.has_lost_scheduler:
                return False
            started.replace_lost()
            if started.is_given_up:
                raise WorkerLostError("The worker processes of this node do not stay; the log says why.")
        return True
    finally:
        started.stop()
