"""The tasks of one run on a Dask cluster, given out as workers are free."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from deepseek.partitions.carriers import CarrierObserver

POLL_SECONDS = 1.0
FETCH_SECONDS = 10.0  # until it is looked whether the cluster is still there
ANSWER_SECONDS = 300.0
"""That a scheduler may take to answer. One that is stopped keeps its connections, so nothing else shows its loss."""


class SchedulerSilentError(TimeoutError):
    """The scheduler has not answered for ANSWER_SECONDS."""


class ClusterCarrier(Protocol):
    """A carrier with a Dask client."""

    client: Any
    observer: CarrierObserver

    def submit(self, function: Callable[[Any], Any], item: Any) -> Any:
        """The future of one task."""

    def check(self) -> None:
        """Raise an error where nothing is to be waited for."""


class RunningTasks:
    """Gives each worker one task at a time, and yields the number and the result of each that has ended.

    So what the observer takes as running does run, and the scheduler holds few tasks, however many there are.
    """

    def __init__(self, carrier: ClusterCarrier, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.carrier, self.function, self.items = carrier, function, items
        self.left = iter(range(len(items)))
        self.futures: dict[int, Any] = {}
        self.numbers: dict[str, int] = {}  # by the key of the task
        self.places: dict[int, str] = {}  # the worker that has it
        self.ended: queue.Queue[int] = queue.Queue()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        self.submit(self.follow_workers())
        while self.futures:
            try:
                number = self.ended.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self.carrier.check()
            else:
                future = self.futures.pop(number)
                yield number, self.fetch(future)
                del self.numbers[future.key]
                self.places.pop(number, None)
                future.release()
            self.submit(self.follow_workers())

    def fetch(self, future: Any) -> Any:
        """The result of a task that has ended. It may take as long as the task: where its worker is lost, another
        one does the task again.
        """
        while True:
            try:
                return future.result(timeout=FETCH_SECONDS)
            except TimeoutError:
                if future.status == "error":  # the task's own
                    raise
                self.carrier.check()
                self.list_running()

    def submit(self, workers: int) -> None:
        for number in islice(self.left, max(0, workers - len(self.futures))):
            future = self.carrier.submit(self.function, self.items[number])
            self.futures[number], self.numbers[future.key] = future, number
            self.carrier.observer.start(number)
            future.add_done_callback(lambda _, number=number: self.ended.put(number))

    def list_running(self) -> dict[str, Any]:
        """The keys of the tasks that each worker has. Raises SchedulerSilentError."""
        client = self.carrier.client
        try:
            tasks_by_worker: dict[str, Any] = client.sync(
                client.scheduler.processing, workers=None, callback_timeout=ANSWER_SECONDS
            )
        except TimeoutError as error:
            raise SchedulerSilentError(f"its scheduler does not answer within {ANSWER_SECONDS:.0f} s") from error
        return tasks_by_worker

    def follow_workers(self) -> int:
        """How many workers there are; tells of the tasks of those that are gone, which run again."""
        tasks_by_worker = self.list_running()
        lost = [number for number, worker in self.places.items() if worker not in tasks_by_worker]
        for worker, keys in tasks_by_worker.items():
            self.places.update({self.numbers[key]: worker for key in keys if key in self.numbers})
        lost = sorted(number for number in lost if number in self.futures)
        if lost:
            self.carrier.observer.lose(lost)
            for number in self.futures:
                self.carrier.observer.start(number)
        for number in lost:
            if self.places[number] not in tasks_by_worker:
                del self.places[number]
        return max(1, len(tasks_by_worker))
