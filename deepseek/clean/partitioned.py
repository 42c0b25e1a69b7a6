"""A plan over the partitions of a table: the steps of `deepseek.clean.steps`, carried by any number of processes.

The coordinator goes through the plan step by step. For each round of a step every partition is scanned, the states are
merged and given back (deepseek/partitions/rounds.py). Steps follow each other batch by batch in a worker; what was
computed is kept in scratch files where a later step must read it again. See docs/partitions.md.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from deepseek.clean.execution import RUNNERS, NumberedBatches, write_parquet
from deepseek.clean.masks import find_masked_by_step
from deepseek.clean.origins import ROW_KINDS
from deepseek.clean.steps.base import Place, StepContext, SteppedBatches, StepRunner
from deepseek.clean.steps.simple import SimplePlanStep
from deepseek.job import EngineError
from deepseek.partitions.carriers import Carrier, OnDone, get_values
from deepseek.partitions.rounds import Round, replay_rounds
from deepseek.partitions.sources import ArrowRows, PartitionSource
from deepseek.tables.batches import Batches
from deepseek.tables.streams import ORIGIN_COLUMN, MappedBatches

History = list[tuple[Any, Any]]
"""What a partition received in the rounds of one step: of all, and its edge."""
MAX_STEPS_APPLIED_AGAIN = 10
"""Cheap steps that readings apply anew, together, before the rows are kept. A plan would else cost the square of its
length: 60 fills of six columns took 18.6 s of CPU, and take 2.5 s."""


@dataclass(frozen=True)
class StepPart:
    """One step as a partition has it."""

    step: Any
    context: StepContext
    history: History = field(default_factory=list)
    first_row: int = 0


@dataclass(frozen=True)
class PartitionTask:
    """A partition and the steps that are to be applied to it; travels to a worker."""

    source: PartitionSource
    partition: int
    partitions: int
    numbered: bool
    steps: Sequence[StepPart] = ()
    bucket: int = 0
    states: Sequence[Any] = ()


@dataclass(frozen=True)
class StepCounts:
    """What a step changed in one partition."""

    cells: dict[str, int]
    found: dict[str, int]
    rows_in: int
    rows_out: int
    inserted: int
    filled: dict[str, int] = field(default_factory=dict)  # of the plan of a spec without steps, as is `missing`
    missing: dict[str, int] = field(default_factory=dict)

    def apply_to(self, runner: StepRunner) -> None:
        """Let a runner of the step have counted this."""
        runner.cells, runner.found = self.cells, self.found
        runner.rows_in, runner.rows_out, runner.inserted = self.rows_in, self.rows_out, self.inserted
        if isinstance(runner, SimplePlanStep):
            runner.filled, runner.missing = self.filled, self.missing


@dataclass(frozen=True)
class KeptPart:
    """A partition as it was kept for the steps to come."""

    path: Path
    rows: int
    counts: list[StepCounts]


@dataclass(frozen=True)
class WrittenPart:
    """A partition of the result: a Parquet file; `runs` as in `OriginRuns`, from row 0 of the partition."""

    path: Path
    rows: int
    missing: dict[str, int]
    runs: npt.NDArray[np.uint64] | None
    counts: list[StepCounts]


@dataclass
class PartitionedResult:
    """The cleaned table in parts, in the order of the rows, with what each step did in all of them.

    `runners`: of each step, that of this process, which has counted what all partitions did.
    """

    parts: list[WrittenPart]
    schema: pa.Schema
    steps: list[StepCounts]
    warnings: list[str]
    runners: list[StepRunner]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


# -- in a worker ------------------------------------------------------------------------------------------------------
def _open_steps(task: PartitionTask) -> tuple[Batches, list[StepRunner], Round | None]:
    """The partition behind the steps, and the round that the last of them waits for, None if it can be applied."""
    current = task.source.open()
    if task.numbered and ORIGIN_COLUMN not in current.schema.names:
        current = NumberedBatches(current, task.source.first_row)
    runners: list[StepRunner] = []
    pending: Round | None = None
    for number, part in enumerate(task.steps):
        place = Place(task.partition, task.partitions, part.first_row)
        runner = RUNNERS[part.step.kind](part.step, current.schema, replace(part.context, warnings=[]), place)
        pending = replay_rounds(runner.rounds(), part.history)
        runners.append(runner)
        if pending is not None:
            if number + 1 < len(task.steps):
                raise RuntimeError(f"step {number} is not ready for the next")
            break
        current = SteppedBatches(current, runner)
    return current, runners, pending


def scan_partition(task: PartitionTask) -> Any:
    """The state of the partition in the round that its last step waits for."""
    batches, _, pending = _open_steps(task)
    if pending is None:
        raise RuntimeError("the step waits for no round")
    return pending.scan(batches)


def reduce_bucket(task: PartitionTask) -> Any:
    """One bucket of shuffled rows, from the states of all partitions."""
    _, _, pending = _open_steps(task)
    if pending is None or pending.reduce is None:
        raise RuntimeError("the step shuffles no rows")
    return pending.reduce(task.bucket, task.states)


def keep_partition(task: PartitionTask) -> KeptPart:
    """Apply the steps and keep the rows in a scratch file."""
    batches, runners, _ = _open_steps(task)
    path = _make_scratch_path(task, "kept-", ".arrow")
    rows = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return KeptPart(path, rows, _count_steps(runners))


def write_partition(task: PartitionTask) -> WrittenPart:
    """Apply the steps and write the rows as Parquet, under a scratch name."""
    batches, runners, _ = _open_steps(task)
    path = _make_scratch_path(task, "written-", ".parquet")
    written = write_parquet(batches, path)
    runs = None if written.runs is None else written.runs.runs
    return WrittenPart(path, written.rows, written.missing, runs, _count_steps(runners))


def count_partition(task: PartitionTask) -> list[int]:
    """The rows that leave each step, for errors that name a row of the whole table."""
    batches, runners, pending = _open_steps(task)
    for _ in batches:
        pass
    if pending is not None:
        pending.scan(batches)
        runners = runners[:-1]
    return [runner.rows_out for runner in runners]


def _make_scratch_path(task: PartitionTask, prefix: str, suffix: str) -> Path:
    folder = task.steps[0].context.folder if task.steps else None
    handle, name = tempfile.mkstemp(dir=folder, prefix=f"{prefix}{task.partition:04}-", suffix=suffix)
    os.close(handle)
    return Path(name)


def _count_steps(runners: Sequence[StepRunner]) -> list[StepCounts]:
    return [
        StepCounts(
            dict(each.cells),
            dict(each.found),
            each.rows_in,
            each.rows_out,
            each.inserted,
            *((dict(each.filled), dict(each.missing)) if isinstance(each, SimplePlanStep) else ()),
        )
        for each in runners
    ]


# -- the coordinator --------------------------------------------------------------------------------------------------
class PartitionedPlan:
    """Runs a plan over partitions. `advance` receives the tasks done and all of them, as far as they are known."""

    def __init__(
        self,
        steps: Sequence[Any],
        sources: Sequence[PartitionSource],
        carrier: Carrier,
        context: StepContext,
        *,
        advance: Callable[[str, int, int], None] = lambda stage, done, total: None,
        at: str = "/steps",
    ) -> None:
        self.steps, self.carrier, self.context, self.advance = steps, carrier, context, advance
        self.sources = list(sources)
        numbered = any(step.kind in ROW_KINDS for step in steps)
        self.tasks = [PartitionTask(source, place, len(sources), numbered) for place, source in enumerate(sources)]
        self.masked = find_masked_by_step(steps)
        self.at = at
        self.schema = NumberedBatches(_SchemaOnly(sources[0]), 0).schema if numbered else sources[0].open().schema
        self.counts: list[StepCounts] = []
        self.runners: list[StepRunner] = []

    def run(self) -> PartitionedResult:
        """Prepare every step, then write every partition. Raises the EngineError of the first row that has one."""
        costly, applied_again = False, 0
        for number, step in enumerate(self.steps):
            kind = RUNNERS[step.kind]
            reads = kind.passes or (kind.scope != "local" and len(self.tasks) > 1)
            applied_again += len(self.tasks[0].steps) if reads else 0
            if reads and (costly or applied_again > MAX_STEPS_APPLIED_AGAIN):
                self._keep_rows()
                costly, applied_again = False, 0
            self._prepare_step(number, step)
            costly = costly or kind.heavy or kind.passes
        written: list[WrittenPart] = self._run_tasks(write_partition, "write")
        self._add_counts([part.counts for part in written])
        for runner, counted in zip(self.runners, self.counts, strict=True):
            counted.apply_to(runner)
        return PartitionedResult(written, self.schema, self.counts, self.context.warnings, self.runners)

    def _prepare_step(self, number: int, step: Any) -> None:
        """Run the rounds of a step, in this process as far as they merge, and hand each partition what it receives."""
        context = replace(self.context, pointer=f"{self.at}/{number}", masked=self.masked[number])
        place = Place(0, len(self.tasks))
        runner = RUNNERS[step.kind](step, self.schema, context, place)
        self.tasks = [replace(task, steps=[*task.steps, StepPart(step, context)]) for task in self.tasks]
        rounds = runner.rounds()
        current = next(rounds, None)
        while current is not None:
            states = self._run_tasks(scan_partition, "scan")
            reduced = self._reduce(current, states)
            shared, edges = current.merge(states, reduced)
            current.accept(shared, edges[0])
            self.tasks = [_add_history(task, (shared, edge)) for task, edge in zip(self.tasks, edges, strict=True)]
            current = next(rounds, None)
        self.context.warnings = context.warnings
        self.runners.append(runner)
        self.schema = runner.schema

    def _reduce(self, current: Round, states: Sequence[Any]) -> list[Any]:
        if current.reduce is None:
            return []
        tasks = [replace(self.tasks[0], bucket=bucket, states=states) for bucket in range(current.buckets)]
        outcomes = self.carrier.run(reduce_bucket, tasks, self._build_progress("reduce", len(tasks)))
        return get_values(outcomes)

    def _keep_rows(self) -> None:
        stored: list[KeptPart] = self._run_tasks(keep_partition, "keep")
        self._add_counts([part.counts for part in stored])
        first_rows = [0, *np.cumsum([part.rows for part in stored]).tolist()]
        for task, part, first_row in zip(self.tasks, stored, first_rows, strict=False):
            if isinstance(task.source, ArrowRows):
                task.source.path.unlink(missing_ok=True)
            self.tasks[task.partition] = replace(task, source=ArrowRows(part.path, part.rows, first_row), steps=[])

    def _add_counts(self, counts: Sequence[Sequence[StepCounts]]) -> None:
        for step_counts in zip(*counts, strict=True):
            self.counts.append(merge_counts(step_counts))

    def _run_tasks(self, function: Callable[[Any], Any], stage: str) -> list[Any]:
        outcomes = self.carrier.run(function, self.tasks, self._build_progress(stage, len(self.tasks)))
        for place, outcome in enumerate(outcomes):
            if outcome.error is not None:
                raise self._locate_error(function, place, outcome.error)
        return [outcome.value for outcome in outcomes]

    def _locate_error(self, function: Callable[[Any], Any], place: int, error: EngineError) -> EngineError:
        """The error with the row of the whole table: the partition fails again, knowing the rows before it."""
        if not place:
            return error
        rows = get_values(self.carrier.run(count_partition, self.tasks[:place], lambda _: None))
        task = self.tasks[place]
        entering = [task.source.first_row, *(sum(column) for column in zip(*rows, strict=True))]
        steps = [replace(part, first_row=first) for part, first in zip(task.steps, entering, strict=False)]
        [outcome] = self.carrier.run(function, [replace(task, steps=steps)], lambda _: None)
        return outcome.error or error

    def _build_progress(self, stage: str, total: int) -> OnDone:
        done = 0

        def on_done(_: int) -> None:
            nonlocal done
            done += 1
            self.advance(stage, done, total)

        self.advance(stage, 0, total)
        return on_done


def _add_history(task: PartitionTask, received: tuple[Any, Any]) -> PartitionTask:
    *before, last = task.steps
    return replace(task, steps=[*before, replace(last, history=[*last.history, received])])


def merge_counts(counts: Sequence[StepCounts]) -> StepCounts:
    """What a step changed in all partitions."""
    return StepCounts(
        merge_numbers([each.cells for each in counts]),
        merge_numbers([each.found for each in counts]),
        sum(each.rows_in for each in counts),
        sum(each.rows_out for each in counts),
        sum(each.inserted for each in counts),
        merge_numbers([each.filled for each in counts]),
        merge_numbers([each.missing for each in counts]),
    )


def merge_numbers(numbers: Sequence[dict[str, int]]) -> dict[str, int]:
    """The sum of each name's numbers."""
    merged: dict[str, int] = {}
    for own in numbers:
        for name, value in own.items():
            merged[name] = merged.get(name, 0) + value
    return merged


class _SchemaOnly(MappedBatches):
    """The columns of a partition, none of its rows."""

    def __init__(self, source: PartitionSource) -> None:
        batches = source.open()
        super().__init__(batches, batches.schema, lambda _: iter(()), 0)
