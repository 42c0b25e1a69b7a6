"""Carriers run tasks on partitions: in this process, or in processes of this node. A lost worker's task runs again."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from deepseek.job import EngineError
from deepseek.memory import get_allowed_bytes, set_memory_limit

PR_SET_PDEATHSIG = 1
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


class CarrierObserver(Protocol):
    """Follows the tasks of a carrier, by their numbers."""

    def begin(self, tasks: int) -> None:
        """A run of so many tasks begins."""

    def start(self, number: int) -> None:
        """A process takes the task."""

    def finish(self, number: int) -> None:
        """The task has ended."""

    def lose(self, numbers: Sequence[int]) -> None:
        """The processes of these tasks were lost; they will run again."""


class NoObserver:
    """Follows nothing."""

    def begin(self, tasks: int) -> None:
        pass

    def start(self, number: int) -> None:
        pass

    def finish(self, number: int) -> None:
        pass

    def lose(self, numbers: Sequence[int]) -> None:
        pass


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

    def __init__(self, observer: CarrierObserver | None = None) -> None:
        self.observer = observer or NoObserver()

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]:
        self.observer.begin(len(items))
        outcomes = []
        for number, item in enumerate(items):
            self.observer.start(number)
            outcomes.append(attempt(function, item))
            self.observer.finish(number)
            on_done(number)
        return outcomes


class ProcessCarrier:
    """Runs the tasks in processes of this node, started anew where one is lost."""

    def __init__(self, processes: int, observer: CarrierObserver | None = None) -> None:
        self.processes = processes
        self.observer = observer or NoObserver()
        self._pool: ProcessPoolExecutor | None = None

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]:
        self.observer.begin(len(items))
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
        """Give each process one task at a time: what was given out and is not done is what runs."""
        pool = self._start()
        left = iter(pending)
        running: dict[Future[Outcome], int] = {}

        def submit(count: int) -> None:
            for number in islice(left, count):
                running[pool.submit(attempt, function, items[number])] = number
                self.observer.start(number)

        try:
            submit(self.processes)
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    outcomes[running[future]] = future.result()
                    number = running.pop(future)
                    self.observer.finish(number)
                    on_done(number)
                submit(len(done))
        except BrokenProcessPool:
            self.observer.lose(sorted(running.values()))
            raise

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            share = get_allowed_bytes() // self.processes
            self._pool = ProcessPoolExecutor(
                self.processes, mp_context=context, initializer=begin_worker, initargs=(os.getpid(), share)
            )
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        """End the processes."""
        self._stop()


def begin_worker(coordinator: int, memory_bytes: int) -> None:
    """Let this process end with the one that started it, and know its share of the memory."""
    with suppress(OSError, AttributeError):  # no Linux: an orphan ends when it has nothing to do
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != coordinator:  # it ended before this was set
        os._exit(1)
    set_memory_limit(memory_bytes)


@contextmanager
def open_carrier(processes: int, *, observer: CarrierObserver | None = None) -> Iterator[Carrier]:
    """The carrier for so many processes; they end with the block."""
    if processes < 2:
        yield InlineCarrier(observer)
        return
    carrier = ProcessCarrier(processes, observer)
    try:
        yield carrier
    finally:
        carrier.close()
