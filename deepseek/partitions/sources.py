"""Partitions of a table: ranges of rows of Parquet files and of Arrow files. They travel by path."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from deepseek.partitions.cancellation import refuse_cancelled
from deepseek.tables.batches import Batches
from deepseek.tables.files import build_broken_parquet_error, normalize_batch, normalize_schema, open_native_file
from deepseek.tables.parquet_size import ParquetSize, estimate_size
from deepseek.tables.parts import build_schema_error
from deepseek.tables.streams import BATCH_ROWS, MappedBatches


class PartitionSource(Protocol):
    """A partition that any process with the same files can open; `first_row` counts the rows before it."""

    @property
    def rows(self) -> int: ...

    @property
    def first_row(self) -> int: ...

    def open(self) -> Batches: ...


@dataclass(frozen=True)
class ParquetRows:
    """Rows of a Parquet file, from row `start` of it on; `name` names the partition in errors."""

    path: Path
    start: int
    rows: int
    schema: pa.Schema
    size: ParquetSize
    first_row: int = 0

    def open(self) -> Batches:
        return ParquetRowBatches(self)


class ParquetRowBatches:
    """The rows as re-readable batches; row groups without any of them stay unread."""

    def __init__(self, source: ParquetRows, names: Sequence[str] | None = None) -> None:
        self.source = source
        self.rows: int | None = source.rows
        names = source.schema.names if names is None else names
        self.schema: pa.Schema = pa.schema([source.schema.field(name) for name in names])

    def select_columns(self, names: Sequence[str]) -> Batches:
        return ParquetRowBatches(self.source, names)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        source = self.source
        try:
            with open_native_file(source.path) as file:
                parquet = pq.ParquetFile(file, pre_buffer=False)  # or it keeps all that it has read
                groups, skip = _find_row_groups(parquet, source.start, source.rows)
                left = source.rows
                if not groups:
                    return
                for batch in parquet.iter_batches(
                    batch_size=source.size.batch_rows, row_groups=groups, columns=self.schema.names
                ):
                    refuse_cancelled()
                    part = batch.slice(skip, left)
                    skip = max(0, skip - batch.num_rows)
                    if part.num_rows:
                        left -= part.num_rows
                        part.validate(full=True)
                        yield normalize_batch(part.select(self.schema.names), self.schema)
                    if not left:
                        return
        except (pa.ArrowException, OSError, ValueError) as error:
            raise build_broken_parquet_error(source.path, error) from error


def cast_batches(batches: Batches, schema: pa.Schema) -> Batches:
    """The batches in the types of `schema`, whose columns they have."""

    def cast(stored: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return (normalize_batch(batch.select(schema.names), schema) for batch in stored)

    return MappedBatches(batches, schema, cast, batches.rows)


def _find_row_groups(parquet: pq.ParquetFile, start: int, rows: int) -> tuple[list[int], int]:
    """The row groups that hold these rows, and how many rows of the first come before them."""
    groups: list[int] = []
    skip = begin = 0
    for number in range(parquet.metadata.num_row_groups):
        end = begin + parquet.metadata.row_group(number).num_rows
        if end > start and begin < start + rows:
            if not groups:
                skip = start - begin
            groups.append(number)
        begin = end
    return groups, skip


def partition_parquet(
    paths: Sequence[Path], partitions: int, *, names: Sequence[str] = (), nested: bool = False
) -> list[PartitionSource]:
    """Partition the rows of Parquet files of one schema; each file has at least one partition of its own.

    `partitions`: how many in all, about; each file gets its share by its rows, which are shared out evenly. `names`: of
    the files, for errors. Raises EngineError ``partition_schema_differs`` for a file with other columns or types than
    the first, and what reading a broken file does.
    """
    files = [_describe_parquet(path, nested=nested) for path in paths]
    schema = files[0][0]
    for place, (other, _, _) in enumerate(files):
        if other != schema:
            raise build_schema_error(schema, other, names[place] if names else paths[place].name)
    total = sum(rows for _, rows, _ in files)
    sources: list[PartitionSource] = []
    first_row = 0
    for path, (_, rows, size) in zip(paths, files, strict=True):
        count = max(1, round(partitions * rows / total)) if total else 1
        ends = [rows * (number + 1) // count for number in range(count)]
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            sources.append(ParquetRows(path, start, end - start, schema, size, first_row + start))
        first_row += rows
    return sources


def _describe_parquet(path: Path, *, nested: bool) -> tuple[pa.Schema, int, ParquetSize]:
    try:
        with open_native_file(path) as file:
            parquet = pq.ParquetFile(file)
            schema = normalize_schema(parquet.schema_arrow, nested=nested)
            return schema, parquet.metadata.num_rows, estimate_size(file, BATCH_ROWS)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise build_broken_parquet_error(path, error) from error


@dataclass(frozen=True)
class CastRows:
    """The rows of another source in other types: those that a table was computed in, before it was written."""

    source: PartitionSource
    schema: pa.Schema

    @property
    def rows(self) -> int:
        return self.source.rows

    @property
    def first_row(self) -> int:
        return self.source.first_row

    def open(self) -> Batches:
        return cast_batches(self.source.open(), self.schema)


@dataclass(frozen=True)
class ArrowRows:
    """Batches of an Arrow file that belongs to the run, in its scratch folder."""

    path: Path
    rows: int
    first_row: int = 0

    def open(self) -> Batches:
        return ArrowFileBatches(self.path, None, self.rows)


class ArrowFileBatches:
    """Batches of an Arrow file, all or these numbers, read by column."""

    def __init__(
        self, path: Path, numbers: Sequence[int] | None, rows: int, names: Sequence[str] | None = None
    ) -> None:
        self.path, self.numbers, self.names = path, numbers, names
        self.rows: int | None = rows
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            schema = reader.schema
        self.schema: pa.Schema = schema if names is None else pa.schema([schema.field(name) for name in names])

    def select_columns(self, names: Sequence[str]) -> Batches:
        return ArrowFileBatches(self.path, self.numbers, self.rows or 0, names)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(self.path)) as file:
            places = None
            if self.names is not None:
                with pa.ipc.open_file(file) as reader:
                    places = sorted(reader.schema.get_field_index(name) for name in self.names)
            options = pa.ipc.IpcReadOptions(included_fields=places)
            with pa.ipc.open_file(file, options=options) as reader:
                for number in range(reader.num_record_batches) if self.numbers is None else self.numbers:
                    refuse_cancelled()
                    batch = reader.get_batch(number)
                    yield batch if self.names is None else batch.select(list(self.names))


@dataclass(frozen=True)
class ArrowFile:
    """A scratch file of the run that holds a stretch of a table, and the rows of each of its batches."""

    path: Path
    schema: pa.Schema
    batch_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        return sum(self.batch_rows)


@dataclass(frozen=True)
class ArrowPiece:
    """So many rows of an Arrow file, behind the first `skip` of the batches of these numbers."""

    path: Path
    numbers: range
    skip: int
    rows: int


@dataclass(frozen=True)
class ArrowPieces:
    """Consecutive pieces of Arrow files as one partition; `schema`: of the table, to whose types each file casts."""

    pieces: tuple[ArrowPiece, ...]
    schema: pa.Schema
    rows: int
    first_row: int

    def open(self) -> Batches:
        return ArrowPieceBatches(self, self.schema)


class ArrowPieceBatches:
    """The rows as re-readable batches, read by column."""

    def __init__(self, source: ArrowPieces, schema: pa.Schema) -> None:
        self.source, self.schema = source, schema
        self.rows: int | None = source.rows

    def select_columns(self, names: Sequence[str]) -> Batches:
        return ArrowPieceBatches(self.source, pa.schema([self.source.schema.field(name) for name in names]))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        names = self.schema.names
        for piece in self.source.pieces:
            skip, left = piece.skip, piece.rows
            for batch in ArrowFileBatches(piece.path, piece.numbers, piece.rows, names):
                part = batch.slice(skip, left)
                skip, left = 0, left - part.num_rows
                yield part if part.schema == self.schema else normalize_batch(part, self.schema)


def partition_arrow(files: Sequence[ArrowFile], schema: pa.Schema, partitions: int) -> list[PartitionSource]:
    """Partition the rows of Arrow files, one after another, as evenly as `partition_parquet` does those of one file."""
    rows = sum(file.rows for file in files)
    ends = [rows * (number + 1) // partitions for number in range(partitions)]
    return [
        ArrowPieces(tuple(_cut_pieces(files, start, end)), schema, end - start, start)
        for start, end in pairwise([0, *ends])
    ]


def _cut_pieces(files: Sequence[ArrowFile], start: int, end: int) -> Iterator[ArrowPiece]:
    begin = 0
    for file in files:
        bounds = list(accumulate(file.batch_rows, initial=begin))
        first, last = max(start, begin), min(end, bounds[-1])
        if first < last:
            low, high = bisect_right(bounds, first) - 1, bisect_left(bounds, last)
            yield ArrowPiece(file.path, range(low, high), first - bounds[low], last - first)
        begin = bounds[-1]
