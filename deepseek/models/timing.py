"""How long one call takes, next to another call, on a machine that is never quiet."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from deepseek.messages import Message
from deepseek.models.figures import Latency

Call = Callable[[], object]
TURNS = 20
WARM = 5
"""Calls before the first turn: TorchScript specialises in its first ones."""


@dataclass(frozen=True)
class Timing:
    """Median seconds of each call, by name, of how many calls; and the 95th percentile of the same calls."""

    seconds: dict[str, float]
    runs: int
    p95: dict[str, float] = field(default_factory=dict)


@contextmanager
def limit_torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads for a while; then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def take_turns(
    calls: Mapping[str, Call],
    *,
    runs: int,
    limit: float = 30.0,
    advance: Callable[[int], object] | None = None,
) -> Timing:
    """Time each of `calls` `runs` times, in up to 20 turns, so that what slows the machine meets all of them.

    The first call of a turn is not counted: it brings the weights back into the caches, which the others emptied.
    After `limit` seconds no other call begins, except for one of each. `advance` hears how many calls of each are
    done. The calls run in torch's inference mode, without Python's collector of garbage.
    """
    durations: dict[str, list[int]] = {name: [] for name in calls}
    length, done = math.ceil(runs / TURNS), 0
    collecting = gc.isenabled()
    gc.disable()
    try:
        with torch.inference_mode():
            end = time.monotonic() + limit
            for call in calls.values():
                _repeat(call, WARM, end)
            while done < runs and (not done or time.monotonic() < end):
                count = min(length, runs - done)
                for name, call in calls.items():
                    durations[name] += _repeat(call, count, end)
                done = min(map(len, durations.values()))
                if advance:
                    advance(done)
    finally:
        if collecting:
            gc.enable()
    medians = {name: statistics.median(times) / 1e9 for name, times in durations.items()}
    return Timing(medians, done, {name: _compute_percentile(times, 0.95) / 1e9 for name, times in durations.items()})


def _compute_percentile(times: list[int], share: float) -> float:
    """The smallest of the times that at least `share` of them do not exceed: the nearest rank."""
    return float(sorted(times)[max(0, math.ceil(share * len(times)) - 1)])


def _repeat(call: Call, count: int, end: float) -> list[int]:
    """Nanoseconds of each of `count` calls after one that is not counted; of fewer, but one, if the time is up."""
    clock = time.perf_counter_ns
    call()
    times: list[int] = []
    while len(times) < count and (not times or time.monotonic() < end):
        start = clock()
        call()
        times.append(clock() - start)
    return times


def build_latency(timing: Timing, name: str, against: str, *, batch: int, threads: int) -> Latency:
    """One of the calls of `timing` against another."""
    own, reference = timing.seconds[name], timing.seconds[against]
    return Latency(
        batch=batch,
        threads=threads,
        runs=timing.runs,
        median_us=own * 1e6,
        against=against,
        against_median_us=reference * 1e6,
        ratio=reference / own,
    )


def describe_latency(measured: Latency) -> str:
    """What a latency says, for a reader: ``At batch 1 it is 2.1 times slower than fp32 eager (...)``."""
    threads = Message("1 thread") if measured.threads == 1 else Message("{threads} threads", threads=measured.threads)
    own, reference, unit = measured.median_us, measured.against_median_us, "microseconds"
    if max(own, reference) >= 1000:
        own, reference, unit = own / 1000, reference / 1000, "milliseconds"
    times = Message("{own:.3g} against {other:.3g} {unit}", own=own, other=reference, unit=unit)
    return Message(
        "At batch {batch} it is {speed} {against} ({times}, {threads}).",
        batch=measured.batch,
        speed=describe_speed(measured.ratio),
        against=measured.against,
        times=times,
        threads=threads,
    )


def describe_speed(ratio: float) -> str:
    """A ratio of times before the name of what it is against: ``2.5 times as fast as``, ``2.1 times slower than``."""
    if 0.95 <= ratio <= 1.05:
        return Message("as fast as")
    return (
        Message("{ratio:.2g} times as fast as", ratio=ratio)
        if ratio > 1
        else Message("{ratio:.2g} times slower than", ratio=1 / ratio)
    )
