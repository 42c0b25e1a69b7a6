"""Read a CSV file in ranges of bytes, carried by any number of processes: the table that one process reads.

Each range is parsed by itself and kept in Arrow files of the scratch folder, in the types that its own cells allow. The
types of all ranges then give those of the table, and ranges that cannot be cast to them are read again. Where a range
turns out to begin within a quoted cell, it is read again from where the record ends.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from deepseek.partitions.cancellation import refuse_cancelled
from deepseek.partitions.carriers import Carrier, get_values
from deepseek.partitions.progress import PartitionProgress
from deepseek.partitions.sources import ArrowFile, partition_arrow
from deepseek.tables.csv_blocks import BlockTypes, CsvBlocks, can_read_column
from deepseek.tables.csv_detection import resolve_csv_spec
from deepseek.tables.csv_ranges import CsvRange, cut_into_ranges
from deepseek.tables.files import normalize_batch, refuse_bad_header, refuse_duplicate_names
from deepseek.tables.sources import FORMAT_BYTES, find_type_changes, is_csv
from deepseek.tables.spec import CsvSpec
from deepseek.tables.streams import BATCH_ROWS

MIN_BYTES_IN_RANGES = 32 * 2**20
"""A shorter file is read by one process: it is done before another has started, which takes about as long."""
RANGE_BYTES = 32 * 2**20
"""About as many bytes as a range has: a lost one is soon read again, and the last ones end at about the same time."""
BLOCK_BYTES = 4 * 2**20
"""Of a range that are parsed at once: larger ones cost as much in fresh memory as they save."""
MAX_RANGES = 1_000
LINE_SAMPLE_BYTES = 1 << 16  # in which lines are counted, to estimate the rows of a range


@dataclass(frozen=True)
class RangeTask:
    """A range to read; travels to a worker. `schema`: the types to read it in, None for those of its own cells."""

    path: Path
    spec: CsvSpec
    part: CsvRange
    folder: Path
    block: int
    schema: pa.Schema | None = None
    column: str = ""

    def open(self) -> CsvBlocks:
        return CsvBlocks(self.path, self.spec, self.block, self.part)


@dataclass(frozen=True)
class RangeRows:
    """The rows of a range in scratch files, one for each change of types; `end`: the byte behind its last record."""

    end: int
    files: list[ArrowFile] = field(default_factory=list)
    types: BlockTypes = field(default_factory=BlockTypes)
    missing: dict[str, int] = field(default_factory=dict)

    def remove(self) -> None:
        for file in self.files:
            file.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class RangedTable:
    """A CSV table that was read in ranges: its files, their common types, missing values by column, and remarks."""

    files: list[ArrowFile]
    schema: pa.Schema
    missing: dict[str, int]
    notes: list[str]
    csv: CsvSpec

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


# -- in a worker ------------------------------------------------------------------------------------------------------
def read_range(task: RangeTask) -> RangeRows:
    """Parse the records of a range and keep them, under names of their own."""
    blocks = task.open()
    types, files = BlockTypes(), RangeFiles(task)
    missing: dict[str, int] = {}
    wanted = None if task.schema is None else dict(zip(task.schema.names, task.schema.types, strict=True))
    with files:
        for block, table in blocks.iter_tables(wanted, threads=1):
            refuse_cancelled()
            types.add(block, table.schema)
            for batch in table.combine_chunks().to_batches(max_chunksize=BATCH_ROWS):
                normal = normalize_batch(batch, table.schema)
                files.add(normal)
                for name, column in zip(normal.schema.names, normal.columns, strict=True):
                    missing[name] = missing.get(name, 0) + column.null_count
    return RangeRows(blocks.end, files.written, types, missing)


class RangeFiles:
    """Writes batches to scratch files, a new one where the types change. None is left where reading fails."""

    def __init__(self, task: RangeTask) -> None:
        self.task = task
        self.written: list[ArrowFile] = []
        self._open = ExitStack()
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> RangeFiles:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._open.close()
        for file in self.written if failure else ():
            file.path.unlink()

    def add(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        if self._writer is None or self.written[-1].schema != batch.schema:
            self._writer = self._begin(batch.schema)
        self._writer.write_batch(batch)
        self.written[-1] = replace(self.written[-1], batch_rows=(*self.written[-1].batch_rows, batch.num_rows))

    def _begin(self, schema: pa.Schema) -> pa.ipc.RecordBatchFileWriter:
        self._open.close()
        handle, name = tempfile.mkstemp(dir=self.task.folder, prefix=f"range-{self.task.part.start}-", suffix=".arrow")
        os.close(handle)
        self.written.append(ArrowFile(Path(name), schema, ()))
        sink = self._open.enter_context(pa.OSFile(name, "wb"))
        return self._open.enter_context(pa.ipc.new_file(sink, schema))


def can_read_range(task: RangeTask) -> bool:
    """Whether the range's column of the task can be read as the type that the task gives it."""
    if task.schema is None:
        raise RuntimeError("no type was given")
    return can_read_column(task.open(), task.column, task.schema.field(task.column).type, threads=1)


# -- the coordinator --------------------------------------------------------------------------------------------------
def read_in_ranges(
    path: Path,
    spec: CsvSpec,
    scratch: Path,
    carrier: Carrier,
    processes: int,
    *,
    hide: bool = False,
    progress: PartitionProgress | None = None,
    block: int = BLOCK_BYTES,
    ranges: int | None = None,
) -> RangedTable | None:
    """The CSV table at `path`, read by so many processes; None where one process has to read it.

    That is a file of another format or encoding than UTF-8, a short one, and one without rows. `ranges`: into how many
    the file is cut, whatever its size. Raises what `open_table` does, the first error of the file.
    """
    size = path.stat().st_size
    if ranges is None and (processes < 2 or size < MIN_BYTES_IN_RANGES):
        return None
    with path.open("rb") as file:
        if not is_csv(begin := file.read(FORMAT_BYTES)) or not begin:
            return None
    csv, notes = resolve_csv_spec(path, spec)
    if csv.encoding != "utf-8":
        return None
    refuse_bad_header(path, csv)
    blocks = CsvBlocks(path, csv, block)
    header, start = blocks.find_header()
    if start >= size:
        return None
    refuse_duplicate_names(blocks.read_names())
    count = min(processes * math.ceil(size / RANGE_BYTES / processes), MAX_RANGES) if ranges is None else ranges
    parts = cut_into_ranges(path, header, start, count, csv.delimiter.encode())
    if progress is not None:
        progress.begin_stage("read")
        progress.set_rows(estimate_rows(path, parts))
    tasks = [RangeTask(path, csv, part, scratch, block) for part in parts]
    tasks, read = _read_all(tasks, carrier)
    schema = _join_types(tasks, read, carrier)
    read = _read_again(tasks, read, schema, carrier)
    table = RangedTable([file for rows in read for file in rows.files], schema, _sum_missing(read, schema), notes, csv)
    if not table.rows:
        return None
    [everything] = partition_arrow(table.files, schema, 1)
    return replace(table, notes=notes + find_type_changes(everything.open(), hide=hide))


def estimate_rows(path: Path, parts: Sequence[CsvRange]) -> list[int]:
    """About how many rows each range has, by its length and the lines at the beginning of the first."""
    with path.open("rb") as file:
        file.seek(parts[0].start)
        head = file.read(LINE_SAMPLE_BYTES)
    lines = max(1, head.count(b"\n"), head.count(b"\r"))
    return [round((part.end - part.start) * lines / len(head)) for part in parts]


def _read_all(tasks: Sequence[RangeTask], carrier: Carrier) -> tuple[list[RangeTask], list[RangeRows]]:
    """Read every range; those that began within a record again, behind it. Raises the first error of the file."""
    outcomes = carrier.run(read_range, tasks, lambda _: None)
    kept: list[RangeTask] = []
    read: list[RangeRows] = []
    end = tasks[0].part.start
    for task, outcome in zip(tasks, outcomes, strict=True):
        if task.part.start != end:
            if outcome.value is not None:
                outcome.value.remove()
            if task.part.end <= end:
                continue
            task = replace(task, part=replace(task.part, start=end))
            [outcome] = carrier.run(read_range, [task], lambda _: None)
        [rows] = get_values([outcome])
        kept.append(task)
        read.append(rows)
        end = rows.end
    return kept, read


def _join_types(tasks: Sequence[RangeTask], read: Sequence[RangeRows], carrier: Carrier) -> pa.Schema:
    types = BlockTypes()
    for rows in read:
        types.merge(rows.types)

    def can_read(name: str, kind: pa.DataType) -> bool:
        schema = pa.schema([(name, kind)])
        trials = [replace(task, schema=schema, column=name) for task in tasks]
        return all(get_values(carrier.run(can_read_range, trials, lambda _: None)))

    return types.join(can_read)


def _read_again(
    tasks: Sequence[RangeTask], read: Sequence[RangeRows], schema: pa.Schema, carrier: Carrier
) -> list[RangeRows]:
    """Read the ranges again whose rows cannot be cast to the types of the table."""
    places = [place for place, rows in enumerate(read) if not rows.types.can_cast(schema)]
    again = [replace(tasks[place], schema=schema) for place in places]
    done: Iterator[RangeRows] = iter(get_values(carrier.run(read_range, again, lambda _: None)) if again else [])
    result = list(read)
    for place in places:
        read[place].remove()
        result[place] = next(done)
    return result


def _sum_missing(read: Sequence[RangeRows], schema: pa.Schema) -> dict[str, int]:
    return {name: sum(rows.missing.get(name, 0) for rows in read) for name in schema.names}
