"""Latencies of calls that take turns."""

import gc
import time

import pytest
import torch

from deepseek.models.figures import Latency
from deepseek.models.timing import TURNS, WARM, Timing, build_latency, describe_latency, limit_torch_threads, take_turns


def test_the_calls_take_turns():
    said, heard = [], []
    timing = take_turns({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, runs=40, advance=heard.append)
    turns = "".join(said)[2 * (WARM + 1) :]
    assert turns == ("aaa" + "bbb") * TURNS  # two that count, after one that does not
    assert (timing.runs, heard) == (40, list(range(2, 41, 2)))


def test_the_median_is_of_the_calls():
    timing = take_turns({"slow": lambda: time.sleep(0.004), "quick": lambda: None}, runs=10)
    assert timing.seconds["slow"] >= 0.004
    assert timing.seconds["quick"] < timing.seconds["slow"]


def test_the_time_has_an_end():
    timing = take_turns({"a": lambda: time.sleep(0.05), "b": lambda: None}, runs=100_000, limit=0.2)
    assert 1 <= timing.runs < 10


def test_within_inference_mode_and_without_collecting():
    seen = set()
    take_turns({"a": lambda: seen.add((torch.is_inference_mode_enabled(), gc.isenabled()))}, runs=10)
    assert seen == {(True, False)}
    assert gc.isenabled()


def test_collecting_goes_on_after_an_error():
    with pytest.raises(ZeroDivisionError):
        take_turns({"a": lambda: 1 / 0}, runs=10)
    assert gc.isenabled()


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with limit_torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_latency():
    made = build_latency(Timing({"int8": 2e-5, "fp32 eager": 5e-5}, 200), "int8", "fp32 eager", batch=32, threads=2)
    assert (made.median_us, made.against_median_us, made.ratio) == pytest.approx((20, 50, 2.5))
    assert (made.batch, made.threads, made.runs, made.against) == (32, 2, 200, "fp32 eager")


@pytest.mark.parametrize(
    ("own", "other", "threads", "words"),
    [
        (20, 50, 1, "At batch 8 it is 2.5 times as fast as fp32 eager (20 against 50 microseconds, 1 thread)."),
        (42, 20, 1, "At batch 8 it is 2.1 times slower than fp32 eager (42 against 20 microseconds, 1 thread)."),
        (51, 50, 1, "At batch 8 it is as fast as fp32 eager (51 against 50 microseconds, 1 thread)."),
        (500, 5000, 2, "At batch 8 it is 10 times as fast as fp32 eager (0.5 against 5 milliseconds, 2 threads)."),
    ],
)
def test_in_words(own, other, threads, words):
    made = Latency(
        batch=8,
        threads=threads,
        runs=10,
        median_us=own,
        against="fp32 eager",
        against_median_us=other,
        ratio=other / own,
    )
    assert describe_latency(made) == words
