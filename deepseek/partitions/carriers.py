"""Carriers run tasks on partitions: in this process, or in processes of this node. A lost worker's task runs again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from deepseek.job import EngineError

MAX_ATTEMPTS = 3
"""Attempts of tasks whose worker processes are lost, one after another, with no task done in between."""


class WorkerLostError(RuntimeError):
    """A worker was lost as often as a task is attempted."""


@dataclass(frozen=True)
class Outcome:
    """What became of one task: its value, or the fault of the input that it met."""

    value: Any = None
    error: EngineError | None = None


OnDone = Callable[[int], None]
"""Called with the number of each task that ended."""


class Carrier(Protocol):
    """Runs a function of one argument on each of the items, which must be importable and travel between processes.

    A function writes its files under names of its own and returns them, so that a task that runs twice counts once.
    """

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]: ...


def attempt(function: Callable[[Any], Any], item: Any) -> Outcome:
    """Run one task; an EngineError is a result."""
    try:
        return Outcome(function(item))
    except EngineError as error:
        return Outcome(error=error)


def get_values(outcomes: Sequence[Outcome]) -> list[Any]:
    """The values of all tasks. Raises the error of the first that has one."""
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.value for outcome in outcomes]


class InlineCarrier:
    """Runs the tasks one after the other in this process."""

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]:
        outcomes = []
        for number, item in enumerate(items):
            outcomes.append(attempt(function, item))
            on_done(number)
        return outcomes


class ProcessCarrier:
    """Runs the tasks in processes of this node, started anew where one is lost."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        attempts = 0  # since a task was done: of thousands, each may lose its process once
        while (before := len(outcomes)) < len(items) and attempts < MAX_ATTEMPTS:
            pending = [number for number in range(len(items)) if number not in outcomes]
            try:
                self._run_pending(function, items, pending, outcomes, on_done)
            except BrokenProcessPool:
                self._stop()
            attempts = 1 if len(outcomes) > before else attempts + 1
        if len(outcomes) < len(items):
            raise WorkerLostError(
                f"A worker process ended {MAX_ATTEMPTS} times before its partition was done. It may have run out of "
                "memory: use more partitions, or fewer processes."
            )
        return [outcomes[number] for number in range(len(items))]

    def _run_pending(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        pending: Sequence[int],
        outcomes: dict[int, Outcome],
        on_done: OnDone,
    ) -> None:
        pool = self._start()
        futures: dict[Future[Outcome], int] = {
            pool.submit(attempt, function, items[number]): number for number in pending
        }
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                outcomes[futures[future]] = future.result()
                on_done(futures[future])

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, mp_context=context)
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        """End the processes."""
        self._stop()


@contextmanager
def open_carrier(processes: int) -> Iterator[Carrier]:
    """The carrier for so many processes; they end with the block."""
    if processes < 2:
        yield InlineCarrier()
        return
    carrier = ProcessCarrier(processes)
    try:
        yield carrier
    finally:
        carrier.close()
