"""How fast a model is and how much memory it takes, in the process that measures it."""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from deepseek.evaluate.document import Memory, Pace
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.job import Report
from deepseek.models.timing import limit_torch_threads, take_turns

T = TypeVar("T")


def measure_latencies(bind: Callable[[int], Callable[[], object]], spec: EvaluateSpec, report: Report) -> list[Pace]:
    """Median and 95th percentile of a call at each batch size, one thread or more as the spec says.

    `bind` takes a batch size and gives the call that is measured.
    """
    latencies, batches = [], list(dict.fromkeys(spec.batches))
    with limit_torch_threads(spec.threads):
        for place, batch in enumerate(batches):
            call = bind(batch)

            def advance(done: int, before: int = place * spec.runs) -> None:
                report.progress(before + done, spec.runs * len(batches), "calls", stage="measure")

            timing = take_turns({"model": call}, runs=spec.runs, advance=advance)
            median = timing.seconds["model"]
            latencies.append(
                Pace(
                    batch=batch,
                    threads=spec.threads,
                    runs=timing.runs,
                    p50_us=median * 1e6,
                    p95_us=timing.p95["model"] * 1e6,
                    rows_per_second=batch / median,
                )
            )
    return latencies


def open_and_measure(open_it: Callable[[], T], use: Callable[[T], object]) -> tuple[T, int]:
    """What `open_it` gives, used once, and the resident bytes that the two added; 0 where memory was there already."""
    before = read_resident_bytes()
    opened_object = open_it()
    use(opened_object)
    return opened_object, max(0, read_resident_bytes() - before)


def measure_memory(model_bytes: int) -> Memory:
    return Memory(model_bytes=model_bytes, peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def read_resident_bytes() -> int:
    """Resident bytes of this process, as Linux tells them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
