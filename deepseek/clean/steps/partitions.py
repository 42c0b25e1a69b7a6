"""Partition rows by a hash of their keys, so that equal keys share a partition that fits into memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from deepseek.clean.steps.base import Place
from deepseek.partitions.sources import ArrowFileBatches
from deepseek.tables.batches import Batches
from deepseek.tables.streams import MAX_BYTES_IN_MEMORY, JoinedBatches, SpilledBatches, select_columns

PARTS = 64
ROW = "\0row"
ROW_BITS = 40
"""Bits of the row's number in its partition; the partition's number stands above them."""
MAX_RESULT_BYTES = 65_536
"""Results of a bucket up to this size stay in memory."""
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
        from pandas.util import hash_array  # half of a process's start

        words = hash_array(np.array([str(value) for value in values.to_pylist()], dtype=object), categorize=False)
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


def shuffle_rows(
    source: Batches, keys: Sequence[str], more: Sequence[str], folder: Path | None, place: Place
) -> Buckets:
    """Split row numbers and these columns of a partition by the hash of the keys; buckets keep the order of the rows.

    A row number holds the partition's above its lower ROW_BITS bits, so numbers ascend over the whole table.
    """
    names = list(dict.fromkeys([*keys, *more]))
    schema = pa.schema([pa.field(ROW, pa.int64()), *(source.schema.field(name) for name in names)])
    rows = 0

    def iter_numbered() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        first = place.partition << ROW_BITS
        for batch in select_columns(source, names):
            numbers = pa.array(np.arange(first + rows, first + rows + batch.num_rows))
            rows += batch.num_rows
            yield pa.RecordBatch.from_arrays([numbers, *normalize_zeros(batch, keys).columns], schema=schema)

    parts = split_by_hash(iter_numbered(), schema, keys, folder)
    if place.partitions == 1 or folder is None:
        return SpilledBuckets(rows, parts)
    return write_buckets(rows, parts, schema, folder)


class Buckets(Protocol):
    """The rows of one partition, by bucket."""

    @property
    def rows(self) -> int: ...

    def open_bucket(self, bucket: int) -> Batches: ...


@dataclass(frozen=True)
class SpilledBuckets:
    """Buckets that stay with this process."""

    rows: int
    parts: Sequence[SpilledBatches]

    def open_bucket(self, bucket: int) -> Batches:
        return self.parts[bucket]


@dataclass(frozen=True)
class BucketFile:
    """Buckets in an Arrow file, which other processes read; `batches` has the numbers of the batches of each."""

    rows: int
    path: Path
    batches: Sequence[Sequence[int]]
    bucket_rows: Sequence[int]

    def open_bucket(self, bucket: int) -> Batches:
        return ArrowFileBatches(self.path, self.batches[bucket], self.bucket_rows[bucket])


def write_buckets(rows: int, parts: Sequence[SpilledBatches], schema: pa.Schema, folder: Path) -> BucketFile:
    """Write the buckets of a partition into a file of their own; a repeated attempt writes another file."""
    handle, name = tempfile.mkstemp(dir=folder, prefix="shuffle-", suffix=".arrow")
    os.close(handle)
    numbers: list[list[int]] = []
    written = 0
    with pa.OSFile(name, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for part in parts:
            numbers.append([])
            for batch in part:
                writer.write_batch(batch)
                numbers[-1].append(written)
                written += 1
    return BucketFile(rows, Path(name), numbers, [part.rows or 0 for part in parts])


def open_bucket(bucket: int, states: Sequence[Buckets]) -> Batches:
    """One bucket of all partitions."""
    return JoinedBatches([state.open_bucket(bucket) for state in states])


Arrays = dict[str, npt.NDArray[Any]]


def split_by_partition(rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """The partitions of ascending row numbers, and where each has its rows."""
    partitions = rows >> ROW_BITS
    starts = np.flatnonzero(np.diff(partitions, prepend=-1))
    if not starts.size:
        return
    for start, end in zip(starts, [*starts[1:], rows.size], strict=True):
        yield int(partitions[start]), slice(int(start), int(end))


def store_results(arrays: Mapping[str, npt.NDArray[Any]], folder: Path | None, place: Place) -> Arrays | Path:
    """Keep the results of a bucket: as they are while few, else in a file, which other processes can read."""
    is_small = sum(array.nbytes for array in arrays.values()) <= MAX_RESULT_BYTES
    if folder is None or (place.partitions == 1 and is_small):
        return dict(arrays)
    handle, name = tempfile.mkstemp(dir=folder, prefix="shuffle-", suffix=".npz")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, allow_pickle=False, **cast("dict[str, Any]", dict(arrays)))
    return Path(name)


def read_results(results: Sequence[Arrays | Path], key: str) -> Iterator[npt.NDArray[Any]]:
    """The arrays under this key in the results of all buckets, one at a time."""
    for result in results:
        if isinstance(result, Path):
            with np.load(result, allow_pickle=False) as stored:
                if key in stored:
                    yield stored[key]
        elif key in result:
            yield result[key]


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
