"""Carries tasks over the nodes of a job: a Dask cluster of its own under the attempt's certificates. See tasks.py.

A lost worker's tasks run again, on another; what it had handed in stays. A lost scheduler ends the run: the job's next
attempt has another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from deepseek.job import Report
from deepseek.partitions.carriers import (
    MAX_ATTEMPTS,
    CarrierObserver,
    NoObserver,
    OnDone,
    Outcome,
    WorkerLostError,
)
from deepseek.partitions.cluster_address import ClusterAddress
from deepseek.partitions.dask_carrier import CONNECT_SECONDS, build_security, import_distributed
from deepseek.partitions.nodes.file_exchange import FileServer
from deepseek.partitions.nodes.membership import Membership
from deepseek.partitions.nodes.supervisor import Keeper, NodeProcesses
from deepseek.partitions.nodes.tasks import pack_task, run_packed, unpack_outcome
from deepseek.partitions.nodes.travel import Roots
from deepseek.partitions.running_tasks import POLL_SECONDS, RunningTasks

JOIN_SECONDS = 120
"""Until the scheduler answers, and then until the first worker has joined; the others may come later."""
JOIN_POLL_SECONDS = 0.1
CLOSE_SECONDS = 10.0
END_SECONDS = 2.0


class NodesCarrier:
    """Runs the tasks on the workers of all nodes. For the first node, which has started its own processes."""

    def __init__(
        self,
        membership: Membership,
        processes: NodeProcesses,
        server: FileServer,
        roots: Roots,
        observer: CarrierObserver | None = None,
    ) -> None:
        distributed = import_distributed()
        credentials, url = membership.credentials, membership.scheduler_url
        address = ClusterAddress(url, credentials.authority, credentials.certificate, credentials.key)
        self._killed = distributed.KilledWorker
        self.observer = observer or NoObserver()
        self.processes, self._server, self._roots = processes, server, roots
        self.has_started = False
        deadline = time.monotonic() + JOIN_SECONDS
        while not processes.is_listening():
            if processes.has_lost_scheduler or time.monotonic() > deadline:
                raise self._build_loss(None)
            time.sleep(JOIN_POLL_SECONDS)
        try:
            self.client = distributed.Client(
                url, security=build_security(address), timeout=CONNECT_SECONDS, set_as_default=False
            )
            self._await_worker(deadline)
        except (OSError, TimeoutError) as error:
            raise self._build_loss(error) from error
        self.has_started = True

    def _await_worker(self, deadline: float) -> None:
        while True:
            try:
                self.client.wait_for_workers(1, timeout=POLL_SECONDS)
            except TimeoutError:
                if self.processes.has_lost_scheduler or self.processes.is_given_up or time.monotonic() > deadline:
                    raise
            else:
                return

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]:
        self.observer.begin(len(items))
        outcomes: dict[int, Outcome] = {}
        try:
            with self.client.as_current():
                for number, data in RunningTasks(self, function, items):
                    outcomes[number] = unpack_outcome(data, self._roots)
                    self.observer.finish(number)
                    on_done(number)
        except (self._killed, CancelledError, OSError, TimeoutError) as error:
            raise self._build_loss(error) from error
        return [outcomes[number] for number in range(len(items))]

    def submit(self, function: Callable[[Any], Any], item: Any) -> Any:
        """The future of one task. A worker that fails it, as by a transfer that broke off, is given another chance."""
        task = pack_task(function, item, self._roots)
        return self.client.submit(run_packed, task, self._server.address, pure=False, retries=MAX_ATTEMPTS)

    def check(self) -> None:
        """Raise WorkerLostError where nothing is to be waited for."""
        if self.processes.has_lost_scheduler or self.processes.is_given_up:
            raise self._build_loss(None)

    def _build_loss(self, error: BaseException | None) -> WorkerLostError:
        """What ended the run, as far as this node knows."""
        if isinstance(error, OSError):  # the connection may be closed before the process is gone
            self.processes.observe_scheduler(END_SECONDS)
        if self.processes.has_lost_scheduler:
            return WorkerLostError("The process that hands out the partitions (the Dask scheduler) has ended.")
        if isinstance(error, self._killed):
            return WorkerLostError(
                f"The worker process of a partition ended {MAX_ATTEMPTS + 1} times. It may have run out of memory: use "
                "more partitions, or fewer processes."
            )
        if self.processes.is_given_up:
            return WorkerLostError("The worker processes of the first node do not stay; the log says why.")
        if not self.has_started:
            return WorkerLostError(
                f"The processes of the first node did not join within {JOIN_SECONDS} s. The node may be too busy: use "
                "fewer processes."
            )
        return WorkerLostError(f"The job's cluster lost a task for good: {error}")

    def close(self) -> None:
        """End the cluster: the workers of all nodes see that it was meant."""
        is_there = not self.processes.has_lost_scheduler
        self.processes.is_stopping = True  # no worker that ends now is replaced
        if is_there:
            with suppress(OSError, TimeoutError):
                self.client.shutdown()
        with suppress(OSError, TimeoutError):
            self.client.close(timeout=CLOSE_SECONDS)
        self.processes.await_scheduler(CLOSE_SECONDS)


@contextmanager
def open_nodes_carrier(
    membership: Membership,
    processes: int,
    *,
    folder: Path,
    inputs: Mapping[str, Path],
    report: Report,
    observer: CarrierObserver | None = None,
) -> Iterator[NodesCarrier]:
    """The carrier of the first node of a job, with so many worker processes on each node; they end with the block.

    `folder`: the scratch folder, below which all files are that tasks name, but for `inputs`, by slot.
    """
    import_distributed()
    with ExitStack() as stack:
        server = FileServer(folder, membership.placement.address, membership.credentials)
        stack.callback(server.close)
        started = NodeProcesses(membership, folder, inputs, processes, report)
        stack.callback(started.stop)
        keeper = Keeper(started)
        stack.callback(keeper.close)
        carrier = NodesCarrier(membership, started, server, Roots(folder, inputs), observer)
        stack.callback(carrier.close)
        yield carrier
