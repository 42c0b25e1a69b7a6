"""Streams of batches that may exceed memory: kept in memory while small, else spilled to a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.ipc

from deepseek.tables.batches import Batches
from deepseek.tables.memory_limits import count_row_group_copies, refuse_large_row_group, refuse_large_table

MAX_BYTES_IN_MEMORY = 64 * 2**20
"""A table up to this size stays in memory; a larger one goes to the disk, batch by batch."""
BATCH_ROWS = 65_536
ORIGIN_COLUMN = "\0origin"
"""The hidden last column that says from which row of the input a row comes: int64, null for an inserted one."""


def select_columns(batches: Batches, names: Sequence[str]) -> Batches:
    """Select columns, in this order, without reading the others where the source allows it."""
    if list(names) == batches.schema.names:
        return batches
    narrow = getattr(batches, "select_columns", None)
    if narrow is not None:
        return cast(Batches, narrow(names))
    return select_from_batches(batches, names)


def select_from_batches(batches: Batches, names: Sequence[str]) -> Batches:
    """Select columns of batches that are read with all their columns."""
    schema = pa.schema([batches.schema.field(name) for name in names])
    return MappedBatches(
        batches, schema, lambda batches: (batch.select(list(names)) for batch in batches), batches.rows
    )


class MappedBatches:
    """The batches of another stream, transformed by `change` at each reading; empty batches are dropped."""

    def __init__(
        self,
        source: Batches,
        schema: pa.Schema,
        change: Callable[[Iterator[pa.RecordBatch]], Iterable[pa.RecordBatch]],
        rows: int | None = None,
    ) -> None:
        self.source, self.schema, self.rows, self._change = source, schema, rows, change

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (batch for batch in self._change(iter(self.source)) if batch.num_rows)


class JoinedBatches:
    """The batches of several sources of one schema, one after the other."""

    def __init__(self, sources: Sequence[Batches]) -> None:
        self.sources = sources
        self.schema: pa.Schema = sources[0].schema
        self.rows: int | None = sum(source.rows or 0 for source in sources)

    def select_columns(self, names: Sequence[str]) -> Batches:
        return JoinedBatches([select_columns(source, names) for source in self.sources])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for source in self.sources:
            yield from source


class SpilledBatches:
    """Stored batches: a list in memory, or beyond a size an unnamed file in `folder`."""

    def __init__(self, schema: pa.Schema, folder: Path | None, memory_bytes: int = MAX_BYTES_IN_MEMORY) -> None:
        self.schema = schema
        self.rows: int | None = 0
        self._folder, self._limit, self._bytes = folder, memory_bytes, 0
        self._batches: list[pa.RecordBatch] = []
        self._file: int | None = None
        self._sink: pa.NativeFile | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep one more batch, unless it is empty."""
        if not batch.num_rows:
            return
        self.rows = (self.rows or 0) + batch.num_rows
        if self._writer is None:
            self._batches.append(batch)
            self._bytes += batch.nbytes
            if self._folder is None:  # it stays in memory, and its columns are made contiguous there
                refuse_large_table(2 * self._bytes)
            if self._bytes > self._limit and self._folder is not None:
                self._to_disk(self._folder)
        else:
            self._writer.write_batch(batch)

    def _to_disk(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".spill-")
        os.unlink(name)  # nothing is left, whatever ends this process
        self._file = handle
        self._sink = pa.PythonFile(os.fdopen(os.dup(handle), "wb"), mode="w")
        self._writer = pa.ipc.new_file(self._sink, self.schema)
        for batch in self._batches:
            self._writer.write_batch(batch)
        self._batches = []

    def finish(self) -> SpilledBatches:
        """Close the store for writing; it can be read from here on."""
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()
            self._writer = self._sink = None
        return self

    def select_columns(self, names: Sequence[str]) -> Batches:
        """These columns, without reading the others from the disk."""
        return _SpilledColumns(self, names)

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The batches, with these columns alone."""
        if self._file is None:
            yield from (batch.select(list(names)) for batch in self._batches)
            return
        places = sorted(self.schema.get_field_index(name) for name in names)
        options = pa.ipc.IpcReadOptions(included_fields=places)
        with pa.OSFile(f"/dev/fd/{self._file}") as file, pa.ipc.open_file(file, options=options) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number).select(list(names))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._file is None:
            return iter(self._batches)
        return self.read(self.schema.names)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _SpilledColumns:
    """Some columns of stored batches."""

    def __init__(self, table: SpilledBatches, names: Sequence[str]) -> None:
        self.table, self.names, self.rows = table, list(names), table.rows
        self.schema: pa.Schema = pa.schema([table.schema.field(name) for name in names])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.table.read(self.names)


def spill_batches(batches: Batches, folder: Path | None) -> SpilledBatches:
    """Compute the batches once and store them."""
    spilled = SpilledBatches(batches.schema, folder)
    for batch in batches:
        spilled.add(batch)
    return spilled.finish()


def rechunk(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Tables of exactly `rows` rows, each column one chunk; the last one may be shorter.

    Raises EngineError ``table_too_large`` where so many rows do not fit: they are there as batches and as the table,
    and the one before may still be in use.
    """
    pending: list[pa.RecordBatch] = []
    count = size = 0
    several = False
    for batch in batches:
        while batch.num_rows + count >= rows:
            part = rows - count
            pending.append(batch.slice(0, part))
            batch, count, size, several = batch.slice(part), 0, 0, True
            yield pa.Table.from_batches(pending, schema).combine_chunks()
            pending = []
        if batch.num_rows:
            pending.append(batch)
            count += batch.num_rows
            size += batch.nbytes
            refuse_large_row_group(count_row_group_copies(several) * size)
    if pending:
        yield pa.Table.from_batches(pending, schema).combine_chunks()


def merge_into_batch(table: pa.Table) -> pa.RecordBatch:
    """Merge a table into one batch with contiguous columns."""
    joined = table.combine_chunks()
    batches = joined.to_batches()
    if len(batches) == 1:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], type=field.type) for field in table.schema], schema=table.schema)
