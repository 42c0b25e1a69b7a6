"""Carries tasks over the nodes of a job: a Dask cluster of its own under the attempt's certificates. See tasks.py.

A lost worker's tasks run again, on another; what it had handed in stays. A lost scheduler ends the run: the job's next
attempt has another one.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from deepseek.job import Report
from deepseek.partitions.carriers import MAX_ATTEMPTS, OnDone, Outcome, WorkerLostError
from deepseek.partitions.dask_carrier import CONNECT_SECONDS, ClusterAddress, build_security, import_distributed
from deepseek.partitions.nodes.file_exchange import FileServer
from deepseek.partitions.nodes.membership import Membership
from deepseek.partitions.nodes.supervisor import Keeper, NodeProcesses
from deepseek.partitions.nodes.tasks import pack_task, run_packed, unpack_outcome
from deepseek.partitions.nodes.travel import Roots

JOIN_SECONDS = 120
"""Until the scheduler answers, and then until the first worker has joined; the others may come later."""
JOIN_POLL_SECONDS = 0.1
POLL_SECONDS = 1.0
CLOSE_SECONDS = 10.0


class NodesCarrier:
    """Runs the tasks on the workers of all nodes. For the first node, which has started its own processes."""

    def __init__(self, membership: Membership, processes: NodeProcesses, server: FileServer, roots: Roots) -> None:
        distributed = import_distributed()
        credentials, url = membership.credentials, membership.scheduler_url
        address = ClusterAddress(url, credentials.authority, credentials.certificate, credentials.key)
        self._killed = distributed.KilledWorker
        self.processes, self._server, self._roots = processes, server, roots
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
        tasks = [pack_task(function, item, self._roots) for item in items]
        servers = [self._server.address] * len(tasks)
        outcomes: dict[int, Outcome] = {}
        try:
            with self.client.as_current():
                futures = self.client.map(run_packed, tasks, servers, pure=False, retries=MAX_ATTEMPTS)
                for number in self._iter_done(futures):
                    outcomes[number] = unpack_outcome(futures[number].result(timeout=CLOSE_SECONDS), self._roots)
                    futures[number].release()
                    on_done(number)
        except (self._killed, CancelledError, OSError, TimeoutError) as error:
            raise self._build_loss(error) from error
        return [outcomes[number] for number in range(len(items))]

    def _iter_done(self, futures: Sequence[Any]) -> Iterator[int]:
        """The numbers of the futures as they end. WorkerLostError as soon as the scheduler has."""
        done: queue.Queue[int] = queue.Queue()
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: done.put(number))
        for _ in futures:
            while True:
                with suppress(queue.Empty):
                    yield done.get(timeout=POLL_SECONDS)
                    break
                if self.processes.has_lost_scheduler or self.processes.is_given_up:
                    raise self._build_loss(None)

    def _build_loss(self, error: BaseException | None) -> WorkerLostError:
        """What ended the run, as far as this node knows."""
        if self.processes.has_lost_scheduler:
            return WorkerLostError("The process that hands out the partitions (the Dask scheduler) has ended.")
        if isinstance(error, self._killed):
            return WorkerLostError(
                f"The worker process of a partition ended {MAX_ATTEMPTS + 1} times. It may have run out of memory: use "
                "more partitions, or fewer processes."
            )
        if self.processes.is_given_up:
            return WorkerLostError("The worker processes of the first node do not stay; the log says why.")
        return WorkerLostError(f"The job's cluster lost a task for good: {error}")

    def close(self) -> None:
        """End the cluster: the workers of all nodes see that it was meant."""
        if not self.processes.has_lost_scheduler:
            with suppress(OSError, TimeoutError):
                self.client.shutdown()
        with suppress(OSError, TimeoutError):
            self.client.close(timeout=CLOSE_SECONDS)
        self.processes.await_scheduler(CLOSE_SECONDS)


@contextmanager
def open_nodes_carrier(
    membership: Membership, processes: int, *, folder: Path, inputs: Mapping[str, Path], report: Report
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
        carrier = NodesCarrier(membership, started, server, Roots(folder, inputs))
        stack.callback(carrier.close)
        yield carrier
