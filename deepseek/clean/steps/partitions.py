"""Partition rows by a hash of their keys, so that equal keys share a partition that fits into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.tables.batches import Batches
from deepseek.tables.streams import MAX_BYTES_IN_MEMORY, SpilledBatches, select_columns

PARTS = 64
ROW = "\0row"
Hashes = npt.NDArray[np.uint64]


def hash_keys(batch: pa.RecordBatch, names: Sequence[str]) -> Hashes:
    """64 bits of each row's keys: equal keys have equal bits, and nothing else is promised."""
    mixed = np.zeros(batch.num_rows, dtype=np.uint64)
    for name in names:
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + _hash_column(batch.column(name))
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _hash_column(column: pa.Array) -> Hashes:
    encoded = pc.dictionary_encode(column)
    values = encoded.dictionary
    if pa.types.is_floating(values.type):
        words = (values.to_numpy(zero_copy_only=False).astype(np.float64) + 0.0).view(np.uint64)
    elif pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        words = np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.int64).view(np.uint64)
    else:
        words = pd.util.hash_array(
            np.array([str(value) for value in values.to_pylist()], dtype=object), categorize=False
        )
    words = words * np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(31)
    words = np.append(words, np.uint64(0))  # the last: of a missing key
    places = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    return np.asarray(words[places])


def normalize_zeros(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Both zeros of floats are one key."""
    arrays = [
        pc.add(column, pa.scalar(0, column.type)) if pa.types.is_floating(column.type) and name in names else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def partition_rows(
    source: Batches, keys: Sequence[str], more: Sequence[str], folder: Path | None
) -> list[SpilledBatches]:
    """Partition row numbers and these columns by key; each partition keeps the order of the rows."""
    names = list(dict.fromkeys([*keys, *more]))
    schema = pa.schema([pa.field(ROW, pa.int64()), *(source.schema.field(name) for name in names)])

    def iter_numbered() -> Iterator[pa.RecordBatch]:
        row = 0
        for batch in select_columns(source, names):
            numbers = pa.array(np.arange(row, row + batch.num_rows))
            row += batch.num_rows
            yield pa.RecordBatch.from_arrays([numbers, *normalize_zeros(batch, keys).columns], schema=schema)

    return split_by_hash(iter_numbered(), schema, keys, folder)


def split_by_hash(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, keys: Sequence[str], folder: Path | None, level: int = 0
) -> list[SpilledBatches]:
    """Split batches into partitions by key. Each level uses another hash and divides what the one before could not."""
    parts = [SpilledBatches(schema, folder, MAX_BYTES_IN_MEMORY // PARTS) for _ in range(PARTS)]
    for batch in batches:
        at = (_mix_bits(hash_keys(batch, keys), level) >> np.uint64(58)).astype(np.int64)
        order = np.argsort(at, kind="stable")
        ends = np.cumsum(np.bincount(at, minlength=PARTS))
        sorted_rows = batch.take(pa.array(order))
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > start:
                parts[number].add(sorted_rows.slice(int(start), int(end - start)))
    return [part.finish() for part in parts]


def _mix_bits(bits: Hashes, level: int) -> Hashes:
    """The bits of the hash at this level."""
    for _ in range(level):
        bits = (bits ^ (bits >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return bits
