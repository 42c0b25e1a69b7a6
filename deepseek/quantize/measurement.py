"""What each form costs and brings: accuracy, time, memory, and whether a row depends on its batch."""

import contextlib
import ctypes
import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepseek.evaluate.latency import open_and_measure
from deepseek.models.figures import Metric
from deepseek.models.source import measure_gap
from deepseek.models.timing import Timing, limit_torch_threads, take_turns
from deepseek.quantize.candidates import PARENT
from deepseek.quantize.document import BatchDependence, VariantTiming
from deepseek.quantize.forms import Form, Opened
from deepseek.quantize.spec import QuantizeSpec
from deepseek.quantize.subjects import Array, Forward, Subject

SECONDS = 30.0
"""Of all forms together at one batch size and number of threads: after it no call begins but the first of each."""
ROWS_ALONE = 16
BATCHES_OF_ROWS = (2, 5, 16)
DEPENDENT = 1e-4
"""A larger difference, relative to the largest output, is no matter of the order of sums."""


@dataclass
class Measured:
    """What was measured of one form."""

    form: Form
    opened: Opened
    memory: int
    answers: Any
    metrics: list[Metric]
    difference: list[Metric]
    gap: tuple[float, float]  # largest difference of an output from the parent's; the same relative to the largest
    dependence: BatchDependence
    timings: list[VariantTiming] = field(default_factory=list)


def list_thread_counts(spec: QuantizeSpec) -> list[int]:
    """The number that the rule looks at, then as many as this process may use, if that is another."""
    return list(dict.fromkeys([spec.threads, len(os.sched_getaffinity(0))]))


def measure_forms(
    subject: Subject, spec: QuantizeSpec, forms: Sequence[Form], advance: Callable[[int, int], object]
) -> list[Measured]:
    """Open each form and measure its outputs on the rows; the first one is the parent. No times yet."""
    measured = list[Measured]()
    sample = subject.take_batch(min(ROWS_ALONE, subject.rows))
    batch = spec.batches[0]
    for place, form in enumerate(forms):
        advance(place, len(forms))
        _release_memory()
        opened, memory = open_and_measure(
            lambda form=form: form.open_with(spec.threads),  # type: ignore[misc]
            lambda opened: opened.forward(sample[:1]),
        )
        answers = subject.predict(opened.forward, batch)
        parent = measured[0] if measured else None
        reference = parent.answers if parent else answers
        gaps = [
            measure_gap(opened.forward(values), subject.forward(values))
            for values in (sample, subject.generate_fresh())
        ]
        if isinstance(answers, np.ndarray):  # of all rows
            gaps.append(measure_gap(answers, reference))
        measured.append(
            Measured(
                form=form,
                opened=opened,
                memory=memory,
                answers=answers,
                metrics=subject.measure(answers),
                difference=subject.measure_difference(answers, reference),
                gap=(max(gap[0] for gap in gaps), max(gap[1] for gap in gaps)),
                dependence=measure_dependence(opened.forward, sample),
            )
        )
    advance(len(forms), len(forms))
    return measured


def _release_memory() -> None:
    """Give memory that is free back to the system, so that what a form takes is seen."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)


def measure_dependence(forward: Forward, sample: Array) -> BatchDependence:
    """Each row of `sample` alone, and in several batches, some of them in another order."""
    alone = np.concatenate([forward(sample[place : place + 1]) for place in range(len(sample))])
    largest, tiny = 0.0, float(np.finfo(np.float32).tiny)
    sizes = sorted({min(size, len(sample)) for size in BATCHES_OF_ROWS} - {1})
    reach = max(float(np.abs(alone).max()), tiny)
    for size in sizes:
        for order in (np.arange(len(sample)), np.arange(len(sample))[::-1]):
            for at in range(0, len(sample), size):
                places = order[at : at + size]
                difference = np.abs(forward(np.ascontiguousarray(sample[places])) - alone[places]).max()
                largest = max(largest, float(difference) / reach)
    return BatchDependence(depends=largest > DEPENDENT, largest=largest, rows=len(sample), batches=sizes)


def measure_timings(
    subject: Subject, spec: QuantizeSpec, measured: Sequence[Measured], advance: Callable[[int, int], object]
) -> None:
    """Time all forms in turns, at each batch size and number of threads; each form gets its `timings`."""
    batches = list(dict.fromkeys(spec.batches))
    rounds = [(threads, batch) for threads in list_thread_counts(spec) for batch in batches]
    for place, (threads, batch) in enumerate(rounds):
        values = subject.take_batch(batch)
        with limit_torch_threads(threads):
            calls = {
                candidate.form.name: (
                    candidate.opened if threads == spec.threads else candidate.form.open_with(threads)
                ).bind(values)
                for candidate in measured
            }

            def advance_calls(done: int, before: int = place) -> None:
                advance(before * spec.runs + done, len(rounds) * spec.runs)

            timing = take_turns(calls, runs=spec.runs, limit=SECONDS, advance=advance_calls)
        for candidate in measured:
            candidate.timings.append(_build_timing(timing, candidate.form.name, batch, threads))


def _build_timing(timing: Timing, name: str, batch: int, threads: int) -> VariantTiming:
    own = timing.seconds[name]
    return VariantTiming(
        batch=batch,
        threads=threads,
        runs=timing.runs,
        p50_us=own * 1e6,
        p95_us=timing.p95[name] * 1e6,
        ratio=timing.seconds[PARENT] / own,
    )
