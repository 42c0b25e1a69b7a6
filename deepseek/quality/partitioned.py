"""Quality report and expectations of a table in partitions, carried by any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepseek.job import JSON
from deepseek.partitions.carriers import Carrier, InlineCarrier, ProcessCarrier, get_values
from deepseek.partitions.sources import PartitionSource
from deepseek.quality.drift_spec import compute_drift
from deepseek.quality.expectations import ExpectationChecks
from deepseek.quality.expectations_spec import AnyExpectation
from deepseek.quality.report import LaterPass, TableMeasure

Advance = Callable[[int, int], None]
"""Called with the partitions done in a pass, and all of them."""


@dataclass(frozen=True)
class MeasureTask:
    """One pass over one partition; `later` is None in the first. `bucket` and `states` are those of a reduction."""

    source: PartitionSource
    partitions: int
    folder: Path
    max_values: int | None
    later: LaterPass | None = None
    bucket: int = 0
    states: Sequence[Any] = ()

    def build_measure(self) -> TableMeasure:
        """The measure that takes the partition."""
        measure = TableMeasure(
            self.source.open().schema, scratch=self.folder, max_values=self.max_values, partitions=self.partitions
        )
        measure.later = self.later
        return measure


def measure_partition(task: MeasureTask) -> Any:
    """The state of a partition after one pass."""
    with task.build_measure() as measure:
        rounds = measure.rounds()
        current = next(rounds)
        if task.later is not None:
            current = next(rounds)
        return current.scan(task.source.open())


def reduce_measure(task: MeasureTask) -> Any:
    """One bucket of the hashes of all rows."""
    current = next(task.build_measure().rounds())
    return current.reduce(task.bucket, task.states) if current.reduce is not None else None


def choose_reducer(carrier: Carrier) -> Carrier:
    """What carries reductions. They take the states of all partitions, which are in this process: to send them to each
    bucket's process costs several times what the reduction does.
    """
    return InlineCarrier() if isinstance(carrier, ProcessCarrier) else carrier


def build_partitioned_report(
    sources: Sequence[PartitionSource],
    carrier: Carrier,
    folder: Path,
    *,
    warnings: Sequence[str] = (),
    parent: Mapping[str, Any] | None = None,
    max_values: int | None = None,
    advance: Advance = lambda done, total: None,
) -> dict[str, JSON]:
    """`build_quality_report` of a table in partitions: the same report, but that correlations may differ in the last
    of their 12 decimals, and counts that are estimated anyway by their stated error. `folder`: scratch that every
    process sees.
    """
    count = len(sources)
    tasks = [MeasureTask(source, count, folder, max_values) for source in sources]
    schema = sources[0].open().schema
    with TableMeasure(schema, scratch=folder, max_values=max_values, partitions=count) as measure:
        for current in measure.rounds():
            states = get_values(carrier.run(measure_partition, tasks, _count_done(count, advance)))
            reductions = [replace(tasks[0], bucket=bucket, states=states) for bucket in range(current.buckets)]
            reduced = get_values(choose_reducer(carrier).run(reduce_measure, reductions, lambda _: None))
            shared, _ = current.merge(states, reduced)
            current.accept(shared, None)
            tasks = [replace(task, later=shared) for task in tasks]
        report = measure.to_report(list(warnings))
    if parent is not None:
        report["drift"] = compute_drift(parent, report)
    return report


@dataclass(frozen=True)
class CheckTask:
    """The expectations on one partition, or one bucket of the keys of all."""

    source: PartitionSource
    partitions: int
    folder: Path
    expectations: Sequence[AnyExpectation]
    masked: Collection[str]
    bucket: int = 0
    states: Sequence[Any] = ()

    def build_checks(self) -> ExpectationChecks:
        """The checks that take the partition."""
        return ExpectationChecks(
            self.source.open().schema,
            self.expectations,
            self.masked,
            partitions=self.partitions,
            first_row=self.source.first_row,
            folder=self.folder,
        )


def check_partition(task: CheckTask) -> Any:
    """What the expectations have of one partition."""
    return next(task.build_checks().rounds()).scan(task.source.open())


def reduce_checks(task: CheckTask) -> Any:
    """One bucket of the keys of all partitions."""
    current = next(task.build_checks().rounds())
    return current.reduce(task.bucket, task.states) if current.reduce is not None else None


def check_partitioned_expectations(
    sources: Sequence[PartitionSource],
    carrier: Carrier,
    folder: Path,
    expectations: Sequence[AnyExpectation],
    *,
    masked: Collection[str] = (),
    advance: Advance = lambda done, total: None,
) -> list[dict[str, JSON]]:
    """`check_expectations` of a table in partitions: the same results."""
    if not expectations:
        return []
    count = len(sources)
    tasks = [CheckTask(source, count, folder, expectations, masked) for source in sources]
    checks = tasks[0].build_checks()
    for current in checks.rounds():
        states = get_values(carrier.run(check_partition, tasks, _count_done(count, advance)))
        reductions = [replace(tasks[0], bucket=bucket, states=states) for bucket in range(current.buckets)]
        reduced = get_values(carrier.run(reduce_checks, reductions, lambda _: None))
        shared, _ = current.merge(states, reduced)
        current.accept(shared, None)
    return checks.results


def _count_done(total: int, advance: Advance) -> Callable[[int], None]:
    done = 0

    def on_done(_: int) -> None:
        nonlocal done
        done += 1
        advance(done, total)

    return on_done
