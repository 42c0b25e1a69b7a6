"""Batches: each caller gets the outputs of its own rows, and a large request costs no more calls than alone."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.serve.batching import RequestQueue
from deepseek.serve.responses import Refused


def compute(rows):
    """A row's outputs depend on that row alone."""
    return np.stack([rows.sum(axis=1) * 3, rows[:, 0]], axis=1)


class Model:
    """`compute`, and the rows of each call; it fails on a NaN."""

    def __init__(self, gate=None):
        self.calls, self.gate = [], gate

    def __call__(self, rows):
        self.calls.append(len(rows))
        if self.gate:
            self.gate.wait(10)
        if np.isnan(rows).any():
            raise ArithmeticError
        return compute(rows)


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


REQUESTS = st.lists(
    st.tuples(st.integers(1, 40), st.booleans(), st.sampled_from([0, 0, 0, 0.001])), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(requests=REQUESTS, limit=st.integers(1, 64), at_once=st.integers(0, 2), merges=st.booleans())
def test_each_caller_gets_the_outputs_of_its_own_rows(threads, requests, limit, at_once, merges):
    model, batches = Model(), []

    async def run():
        queue = RequestQueue(
            model, threads if at_once else None, at_once=at_once, merges=merges, max_batch=limit, latency_budget=0.002
        )
        queue.record_batch = lambda count, rows: batches.append((count, rows))

        async def ask(place, rows, broken, pause):
            own = np.full((rows, 3), place, np.float32) + np.arange(rows, dtype=np.float32)[:, None] / 64
            if broken:
                own[-1, 0] = np.nan
            await asyncio.sleep(pause)
            return own, await asyncio.gather(queue.predict(own), return_exceptions=True)

        return await asyncio.gather(*(ask(place, *request) for place, request in enumerate(requests)))

    for (own, (outputs,)), (_, broken, _) in zip(asyncio.run(run()), requests, strict=True):
        if broken:
            assert isinstance(outputs, ArithmeticError)
        else:
            np.testing.assert_array_equal(outputs, compute(own))
    assert sum(rows for _, rows in batches) == sum(rows for rows, _, _ in requests)
    assert all(count == 1 or (merges and rows <= limit) for count, rows in batches)


def test_a_large_request_is_one_call_of_its_own(threads):
    gate = threading.Event()
    model = Model(gate)

    async def run():
        queue = RequestQueue(model, threads, merges=True, max_batch=16)
        asked = [asyncio.create_task(queue.predict(np.zeros((rows, 3), np.float32))) for rows in (1, 2, 1000, 3, 4, 5)]
        while len(queue) < 5:
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*asked)

    asyncio.run(run())
    assert model.calls == [1, 2, 1000, 12]


def test_what_waits_is_bounded_and_grows_old(threads):
    gate = threading.Event()
    model = Model(gate)

    async def run():
        queue = RequestQueue(model, threads, merges=True, max_waiting=2, waiting_seconds=0.01)
        rows = np.zeros((1, 3), np.float32)
        asked = [asyncio.create_task(queue.predict(rows)) for _ in range(4)]
        await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    first, *rest = asyncio.run(run())
    np.testing.assert_array_equal(first, [[0, 0]])
    assert [type(one) for one in rest] == [Refused] * 3
    assert [one.errors[0].code for one in rest] == ["waited_too_long", "waited_too_long", "overloaded"]
    assert all(one.retry_after >= 1 for one in rest)
    assert model.calls == [1]


def test_a_client_that_went_away_costs_no_call(threads):
    gate = threading.Event()
    model = Model(gate)

    async def run():
        queue = RequestQueue(model, threads)
        rows = np.zeros((1, 3), np.float32)
        first, second = (asyncio.create_task(queue.predict(rows)) for _ in range(2))
        await asyncio.sleep(0.01)
        second.cancel()
        gate.set()
        await first
        third = await queue.predict(rows)
        assert third.shape == (1, 2)

    asyncio.run(run())
    assert model.calls == [1, 1]


def test_batches_keep_to_the_latency_budget(threads):
    def slow(rows):
        time.sleep(len(rows) * 0.001)
        return compute(rows)

    async def run(budget):
        queue = RequestQueue(slow, threads, merges=True, latency_budget=budget)
        for _ in range(4):
            await asyncio.gather(*(queue.predict(np.zeros((1, 3), np.float32)) for _ in range(40)))
        return queue.limit

    assert asyncio.run(run(0.001)) < 4
    assert asyncio.run(run(10)) > 16
