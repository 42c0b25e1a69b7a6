"""Split a table into Parquet parts: by rows, by intervals of time or by a key. Memory is bounded by a row group.

By rows the table is written while it is read. Else the rows of each part are put aside in a scratch file first, and
each part is written from there: so equal tables make equal bytes, and a key that most rows have only makes its part
long.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from deepseek.clean.execution import write_parquet
from deepseek.clean.steps.partitions import hash_keys
from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.partitions.outputs import FOLDER, SLOT, TABLE_TYPE, PartFile
from deepseek.partitions.split_spec import SplitSpec
from deepseek.tables.batches import Batches
from deepseek.tables.files import build_unknown_column_error
from deepseek.tables.sources import open_table
from deepseek.tables.streams import MappedBatches

MAX_PARTS = 10_000
BUFFER_BYTES = 64 * 2**20
"""Rows that are put aside in memory before they go to their files."""
MICROSECONDS = {
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
WHOLE_DAYS = ("day", "week")
WITHOUT_TIME = np.iinfo(np.int64).max
EPOCH = datetime(1970, 1, 1)
Codes = npt.NDArray[np.int64]
Advance = Callable[[int], None]


def run(spec: SplitSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Split the table in the slot ``table`` into the folder ``table`` of Parquet parts in `out`.

    Raises EngineError ``wrong_inputs``, ``unknown_column``, ``column_not_time``, ``too_many_parts``, and what
    `open_table` finds wrong with the file; then, as after a crash, there is no `out`.
    """
    if set(inputs) != {SLOT}:
        raise EngineError(
            "wrong_inputs",
            "Splitting takes one input, in the slot 'table'.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit=SLOT,
            hint=N_("Give one CSV or Parquet file as 'table'."),
        )
    with stage_outputs(out) as stage:
        report.progress(0, None, "rows", stage="read")
        source = open_table(inputs[SLOT], spec.csv, stage, nested=True)
        for note in source.notes:
            report.log(note, level="warning")

        def advance(rows: int) -> None:
            report.progress(rows, source.rows, "rows", stage="write")

        parts = write_parts(source.batches, spec, stage / FOLDER, advance)
        report.log(f"wrote {source.rows:,} rows in {len(parts):,} parts")
    columns: list[JSON] = [{"name": field.name, "dtype": str(field.type)} for field in source.batches.schema]
    outputs = [Output(part.slot, part.name, TABLE_TYPE, {"rows": part.rows, "columns": columns}) for part in parts]
    return Result(tuple(outputs), {"rows": source.rows, "parts": len(parts)})


def write_parts(
    batches: Batches, spec: SplitSpec, folder: Path, advance: Advance = lambda rows: None
) -> list[PartFile]:
    """Write the rows of the table as Parquet parts into the new `folder`; in each they stand in the order of the table.

    `advance` receives the rows written so far. Raises EngineError ``unknown_column``, ``column_not_time`` and
    ``too_many_parts``.
    """
    column = spec.time or spec.key
    if column is not None and column not in batches.schema.names:
        field = "/time" if spec.time else "/key"
        raise build_unknown_column_error(batches.schema.names, column, field)
    folder.mkdir()
    if spec.rows is not None:
        return _write_rows(batches, spec.rows, folder, advance)
    if spec.time is not None:
        _require_time(batches.schema.field(spec.time))
    scratch = folder.parent / f".{folder.name}-rows"
    scratch.mkdir()
    try:
        counts = _put_aside(batches, spec, scratch)
        parts, done = [], 0
        for number, (code, rows) in enumerate(sorted(counts.items())):
            name = f"part-{number:05}.parquet" if spec.key else f"{_format_interval(code, spec)}.parquet"
            write_parquet(_StoredRows(scratch / str(code), batches.schema, rows), folder / name)
            (scratch / str(code)).unlink()
            parts.append(PartFile(f"{SLOT}/{name}", f"{folder.name}/{name}", rows))
            done += rows
            advance(done)
    finally:
        shutil.rmtree(scratch)
    return parts


# -- by rows ----------------------------------------------------------------------------------------------------------
def _write_rows(batches: Batches, limit: int, folder: Path, advance: Advance) -> list[PartFile]:
    """Parts of `limit` rows, written while the table is read."""
    rest = _Rest(iter(batches))
    parts: list[PartFile] = []
    done = 0
    while rest.has_more():
        if len(parts) == MAX_PARTS:
            raise _build_count_error("/rows", f"{limit:,} rows")
        name = f"part-{len(parts):05}.parquet"
        table = MappedBatches(batches, batches.schema, lambda _: rest.take(limit))
        rows = write_parquet(table, folder / name).rows
        parts.append(PartFile(f"{SLOT}/{name}", f"{folder.name}/{name}", rows))
        done += rows
        advance(done)
    return parts


class _Rest:
    """The rows of a stream that no part has taken yet."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.batches = batches
        self.batch: pa.RecordBatch | None = None

    def has_more(self) -> bool:
        while self.batch is None or not self.batch.num_rows:
            self.batch = next(self.batches, None)
            if self.batch is None:
                return False
        return True

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        while rows and self.has_more() and self.batch is not None:
            piece = self.batch.slice(0, rows)
            self.batch = self.batch.slice(piece.num_rows)
            rows -= piece.num_rows
            yield piece


# -- by time or key ---------------------------------------------------------------------------------------------------
def _put_aside(batches: Batches, spec: SplitSpec, scratch: Path) -> dict[int, int]:
    """Write the rows of each part to a file of its own in `scratch`, named by its code; returns {code: rows}."""
    counts: dict[int, int] = {}
    buffers: dict[int, list[pa.RecordBatch]] = {}
    size = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        codes = _compute_intervals(batch, spec) if spec.time else _compute_buckets(batch, spec)
        order = np.argsort(codes, kind="stable")
        values, starts = np.unique(codes[order], return_index=True)
        grouped = batch.take(pa.array(order))
        for code, start, end in zip(values.tolist(), starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
            if code not in counts and len(counts) == MAX_PARTS:
                raise _build_count_error("/every", f"{spec.every} {spec.unit}")
            counts[code] = counts.get(code, 0) + end - start
            buffers.setdefault(code, []).append(grouped.slice(start, end - start))
        size += batch.nbytes
        if size > BUFFER_BYTES:
            _flush(buffers, scratch, batches.schema)
            size = 0
    _flush(buffers, scratch, batches.schema)
    return counts


def _flush(buffers: dict[int, list[pa.RecordBatch]], scratch: Path, schema: pa.Schema) -> None:
    """Append the buffers to their files, an Arrow stream each time: thousands of files need not be open at once."""
    for code, pieces in buffers.items():
        with (scratch / str(code)).open("ab") as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in pa.Table.from_batches(pieces, schema).combine_chunks().to_batches():
                writer.write_batch(batch)
    buffers.clear()


class _StoredRows:
    """The rows of a part, in the Arrow streams of its file."""

    def __init__(self, path: Path, schema: pa.Schema, rows: int) -> None:
        self.path, self.schema = path, schema
        self.rows: int | None = rows

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self.path)) as file:
            while file.tell() < file.size():
                with pa.ipc.open_stream(file) as reader:
                    yield from reader


def _compute_buckets(batch: pa.RecordBatch, spec: SplitSpec) -> Codes:
    hashes = hash_keys(batch, [str(spec.key)])
    return (hashes % np.uint64(spec.parts)).astype(np.int64)


def _compute_intervals(batch: pa.RecordBatch, spec: SplitSpec) -> Codes:
    """The interval of each row, counted from 1970; WITHOUT_TIME where the time is missing."""
    column = batch.column(str(spec.time))
    kind = pa.timestamp("us", tz=getattr(column.type, "tz", None))
    micros = pc.cast(column.cast(kind, safe=False), pa.int64())
    values = pc.fill_null(micros, 0).to_numpy(zero_copy_only=False)
    intervals = np.floor_divide(values, spec.every * MICROSECONDS[spec.unit])
    missing = pc.is_null(column).to_numpy(zero_copy_only=False)
    return np.where(missing, WITHOUT_TIME, intervals).astype(np.int64)


def _format_interval(code: int, spec: SplitSpec) -> str:
    """The beginning of an interval as the name of a file: in the order of time, and legal on every system."""
    if code == WITHOUT_TIME:
        return "without-time"
    try:
        begin = EPOCH + timedelta(microseconds=code * spec.every * MICROSECONDS[spec.unit])
    except OverflowError:
        raise EngineError(
            "column_not_time",
            "The column {name!r} holds a time outside the years 1 to 9999.",
            name=spec.time,
            field="/time",
            value=spec.time,
            limit="times of the years 1 to 9999",
            hint=N_("Correct these times, or split by rows."),
        ) from None
    return begin.date().isoformat() if spec.unit in WHOLE_DAYS else begin.isoformat().replace(":", "")


def _require_time(field: pa.Field) -> None:
    if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
        return
    raise EngineError(
        "column_not_time",
        "The column {name!r} holds no dates or times: its type is {kind}.",
        name=field.name,
        kind=str(field.type),
        field="/time",
        value=field.name,
        limit="a column of dates or of dates and times",
        hint=N_("Cast it to a date first, by a cleaning step."),
    )


def _build_count_error(field: str, size: str) -> EngineError:
    return EngineError(
        "too_many_parts",
        "Parts of {size} make more than {count:,} parts.",
        size=size,
        count=MAX_PARTS,
        field=field,
        limit=f"{MAX_PARTS:,} parts",
        hint=N_("Make the parts larger."),
    )
