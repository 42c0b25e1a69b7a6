"""Find rows that repeat an earlier key, in tables that may exceed memory."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import pyarrow as pa

from deepseek.messages import Message
from deepseek.quality.measures.hashing import hash_column, hash_rows

PARTITIONS = 64
MAX_PENDING_ROWS = 2**21
Repeated = tuple[int, str]
"""A row that repeats a key, from 0, and which row had it before, in words."""
_PAIR = np.dtype([("hash", "<u8"), ("row", "<u8")])


class KeyHashes:
    """Hashes of the keys with their rows; beyond MAX_PENDING_ROWS in partitions on disk, 16 bytes a row."""

    def __init__(self, max_pending: int = MAX_PENDING_ROWS) -> None:
        self.max_pending, self.pending_rows, self.rows = max_pending, 0, 0
        self.pending: list[np.ndarray] = []  # type: ignore[type-arg]
        self.files: list[IO[bytes]] = []
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stack.close()

    def add(self, columns: Sequence[pa.Array], row_offset: int) -> None:
        """Add the key columns of a batch that begins at row `row_offset`; a key with a missing part does not count."""
        is_complete = np.ones(len(columns[0]), dtype=bool)
        for column in columns:
            is_complete &= column.is_valid().to_numpy(zero_copy_only=False)
        hashes = [column_hash for column in columns if (column_hash := hash_column(column)) is not None]
        pairs = np.empty(int(is_complete.sum()), dtype=_PAIR)
        pairs["hash"] = hash_rows(hashes)[is_complete]
        pairs["row"] = np.flatnonzero(is_complete) + row_offset
        self.pending.append(pairs)
        self.pending_rows += pairs.size
        self.rows += pairs.size
        if self.pending_rows > self.max_pending:
            self._spill()

    def find_repeated(self, limit: int) -> tuple[int, int, list[tuple[int, str]]]:
        """(rows that repeat a key, rows with a key, the first `limit` of them with the row that had it before)."""
        if self.files:
            self._spill()
        repeated, first = find_repeated_pairs(self._get_partitions(), limit)
        return repeated, self.rows, first

    def export(self, folder: Path) -> "KeyFile":
        """Write the pairs, by range of their hashes, into a file that other processes read."""
        handle, name = tempfile.mkstemp(dir=folder, prefix="keys-", suffix=".pairs")
        with os.fdopen(handle, "wb") as out:
            if self.files:
                self._spill()
                sizes = []
                for file in self.files:
                    file.seek(0)
                    sizes.append(out.write(file.read()) // _PAIR.itemsize)
                ends = np.cumsum([0, *sizes])
            else:
                ordered, ends = self._order_pending()
                out.write(ordered.tobytes())
        return KeyFile(Path(name), ends.tolist(), self.rows)

    def _get_partitions(self) -> "Sequence[np.ndarray]":  # type: ignore[type-arg]
        if not self.files:
            return [np.concatenate(self.pending)] if self.pending else []
        return _PartitionReader(self.files)

    def _order_pending(self) -> "tuple[np.ndarray, np.ndarray]":  # type: ignore[type-arg]
        """The pairs in memory by their hashes, and where each range ends."""
        ordered = np.sort(np.concatenate([np.empty(0, dtype=_PAIR), *self.pending]), order="hash")
        return ordered, np.searchsorted(ordered["hash"] >> np.uint64(58), np.arange(PARTITIONS + 1))

    def _spill(self) -> None:
        if not self.files:
            for _ in range(PARTITIONS):  # without a name: nothing is left, whatever ends this process
                part = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  the stack's
                self.files.append(self.stack.enter_context(part))
        if not self.pending:
            return
        ordered, ends = self._order_pending()
        self.pending, self.pending_rows = [], 0
        for place, file in enumerate(self.files):
            file.write(ordered[ends[place] : ends[place + 1]].tobytes())


class _PartitionReader(Sequence):  # type: ignore[type-arg]
    """The partitions, one in memory at a time."""

    def __init__(self, files: Sequence[IO[bytes]]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        file = self.files[place]
        file.seek(0)
        return np.frombuffer(file.read(), dtype=_PAIR)


@dataclass(frozen=True)
class KeyFile:
    """The pairs of a partition in a file: range n of 64 lies between `ends[n]` and `ends[n + 1]`."""

    path: Path
    ends: Sequence[int]
    rows: int

    def read(self, place: int) -> np.ndarray:  # type: ignore[type-arg]
        """The pairs of one range."""
        begin, end = self.ends[place], self.ends[place + 1]
        return np.fromfile(self.path, dtype=_PAIR, count=end - begin, offset=_PAIR.itemsize * begin)


def find_repeated_in_files(parts: Sequence[KeyFile], places: Sequence[int], limit: int) -> tuple[int, list[Repeated]]:
    """Rows of all partitions that repeat a key of these ranges, and the first `limit` of them."""
    return find_repeated_pairs((np.concatenate([part.read(place) for part in parts]) for place in places), limit)


def find_repeated_pairs(ranges: "Iterable[np.ndarray]", limit: int) -> tuple[int, list[Repeated]]:  # type: ignore[type-arg]
    """Rows that repeat a key, and the first `limit` of them with the row that had it before."""
    first: list[Repeated] = []
    repeated = 0
    for pairs in ranges:
        ordered = pairs[np.lexsort((pairs["row"], pairs["hash"]))]
        same = np.flatnonzero(ordered["hash"][1:] == ordered["hash"][:-1]) + 1
        repeated += same.size
        rows = ordered["row"]
        for place in same[np.argsort(rows[same], kind="stable")[:limit]].tolist():
            begin = int(np.searchsorted(ordered["hash"], ordered["hash"][place]))
            first.append((int(rows[place]), Message("as in row {row:,}", row=int(rows[begin]) + 1)))
    return repeated, sorted(first)[:limit]
