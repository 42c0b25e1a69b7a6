"""The requests that wait for a model: bounded, and computed together where the model gains from it.

A batch takes what waits, and never waits to become larger: while nothing runs, a request is computed at once. How many
rows it may have is found by what batches took: more while they stay below the latency budget, fewer when one took
longer (additive increase, multiplicative decrease, as in Clipper, NSDI 2017). A request with more rows than that is a
call of its own, as it would be without batching.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import numpy as np

from deepseek.job import EngineError
from deepseek.serve.bodies import build_overloaded_error
from deepseek.serve.responses import Refused

Call = Callable[[], Any]
INCREASE, DECREASE = 4, 0.75
"""Rows that a batch may have more after one below the budget; the share that is left after one above."""
_SHORTEST = 1e-4


class _Waiting:
    """One request: a call of its own, or rows that may share one."""

    __slots__ = ("call", "future", "rows", "since")

    def __init__(self, future: "asyncio.Future[Any]", call: Call | None, rows: Any) -> None:
        self.future, self.call, self.rows, self.since = future, call, rows, time.monotonic()


class RequestQueue:
    """What waits for one model, within one event loop.

    Calls run in `executor`, `at_once` of them; without one, in the event loop, after all requests that came in the same
    turn of it. `predict`: of an array of rows, an array with as many.
    """

    def __init__(
        self,
        predict: Callable[[Any], Any],
        executor: Executor | None,
        *,
        at_once: int = 1,
        max_waiting: int = 128,
        waiting_seconds: float = 30.0,
        merges: bool = False,
        max_batch: int = 256,
        latency_budget: float = 0.05,
    ) -> None:
        self._predict, self._executor, self.at_once = predict, executor, at_once if executor else 1
        self.max_waiting, self.waiting_seconds = max_waiting, waiting_seconds
        self.merges, self.max_batch, self.latency_budget = merges, max_batch, latency_budget
        self.limit = float(min(max_batch, 16))
        """Rows that a batch of several requests may have now."""
        self.running = 0
        self._waiting: deque[_Waiting] = deque()
        self._seconds = _SHORTEST  # of a call, of late
        self._scheduled = False
        self.record_batch: Callable[[int, int], None] = lambda requests, rows: None

    def __len__(self) -> int:
        return len(self._waiting)

    async def run(self, call: Call) -> Any:
        """What `call` gives, once it was its turn. Raises what it raises, and Refused."""
        return await self._add(call, None)

    async def predict(self, rows: Any) -> Any:
        """The outputs of `rows`, which may be computed with those of others. Raises as `run` does."""
        return await self._add(None, rows)

    async def _add(self, call: Call | None, rows: Any) -> Any:
        if len(self._waiting) >= self.max_waiting:
            seconds = math.ceil(len(self._waiting) * self._seconds / self.at_once)
            refusal = build_overloaded_error("waiting requests", self.max_waiting)
            raise Refused(refusal, retry_after=max(1, min(seconds, 60)))
        waiting = _Waiting(asyncio.get_running_loop().create_future(), call, rows)
        self._waiting.append(waiting)
        self._start()
        return await waiting.future

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._executor is None:
            if self._waiting and not self._scheduled:
                self._scheduled = True
                loop.call_soon(self._run_here)
            return
        while self.running < self.at_once and (batch := self._take()):
            self.running += 1
            job = loop.run_in_executor(self._executor, self._compute, batch)
            job.add_done_callback(partial(self._finish, batch, time.perf_counter()))

    def _run_here(self) -> None:
        self._scheduled = False
        while batch := self._take():
            begin = time.perf_counter()
            self._deliver(batch, self._compute(batch), time.perf_counter() - begin)

    def _take(self) -> list[_Waiting]:
        """The next batch, the longest waiting first; none if nothing waits."""
        batch: list[_Waiting] = []
        rows, limit = 0, int(self.limit)
        while self._waiting:
            first = self._waiting[0]
            if first.future.done():  # its client went away
                self._waiting.popleft()
            elif time.monotonic() - first.since > self.waiting_seconds:
                self._waiting.popleft()
                first.future.set_exception(Refused(_build_waited_error(self.waiting_seconds), retry_after=1))
            elif not batch:
                batch.append(self._waiting.popleft())
                if first.rows is None or not self.merges:
                    break
                rows = len(first.rows)
            elif first.rows is None or rows + len(first.rows) > limit:
                break
            else:
                batch.append(self._waiting.popleft())
                rows += len(first.rows)
        return batch

    def _compute(self, batch: Sequence[_Waiting]) -> list[Any]:
        """What each of the batch gets: outputs, or an exception."""
        if len(batch) == 1:
            return [self._compute_alone(batch[0])]
        try:
            outputs = self._predict(np.concatenate([waiting.rows for waiting in batch]))
        except Exception:  # noqa: BLE001  the fault is of one of them; the others get their answers
            return [self._compute_alone(waiting) for waiting in batch]
        ends = np.cumsum([len(waiting.rows) for waiting in batch])
        if len(outputs) != ends[-1]:
            return [self._compute_alone(waiting) for waiting in batch]
        return np.split(outputs, ends[:-1])

    def _compute_alone(self, waiting: _Waiting) -> Any:
        try:
            return waiting.call() if waiting.call else self._predict(waiting.rows)
        except Exception as error:  # noqa: BLE001  whoever asked raises it
            return error

    def _finish(self, batch: Sequence[_Waiting], begin: float, job: "asyncio.Future[list[Any]]") -> None:
        self.running -= 1
        if job.cancelled() or job.exception():
            results: list[Any] = [job.exception() if not job.cancelled() else RuntimeError("stopped")] * len(batch)
        else:
            results = job.result()
        self._deliver(batch, results, time.perf_counter() - begin)
        self._start()

    def _deliver(self, batch: Sequence[_Waiting], results: Sequence[Any], seconds: float) -> None:
        self._seconds += 0.2 * (max(seconds, _SHORTEST) - self._seconds)
        if batch[0].rows is not None:
            rows = sum(len(waiting.rows) for waiting in batch)
            self.record_batch(len(batch), rows)
            self._adapt(len(batch), rows, seconds)
        for waiting, result in zip(batch, results, strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, BaseException):
                waiting.future.set_exception(result)
            else:
                waiting.future.set_result(result)

    def _adapt(self, requests: int, rows: int, seconds: float) -> None:
        """Let the next batches have more rows or fewer, by what this one took."""
        if requests > 1 and seconds > self.latency_budget:
            self.limit = max(1.0, min(self.limit, rows) * DECREASE)
        elif rows >= self.limit - INCREASE and seconds < self.latency_budget * 0.8:
            self.limit = min(float(self.max_batch), self.limit + INCREASE)


def _build_waited_error(seconds: float) -> EngineError:
    return EngineError(
        "waited_too_long",
        "The request waited for {seconds:g} seconds and was not computed.",
        seconds=seconds,
        limit=f"{seconds:g} s",
        hint="Send the request again after the seconds of Retry-After, or serve more replicas.",
    )
