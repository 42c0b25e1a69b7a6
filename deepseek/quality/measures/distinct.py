"""How many different values there are: exactly while their hashes fit, then by partitions on disk or by an estimate."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

import numpy as np

from deepseek.quality.measures.hashing import Hashes

MAX_HASHES = 2**22
"""Held by all columns together: 32 MiB."""
MAX_HASHES_PER_COLUMN = 2**20
"""And by one of them."""
MAX_PENDING_ROWS = 2**21
PARTITIONS = 256
PRECISION = 14
STANDARD_ERROR = 1.04 / 2 ** (PRECISION / 2)
"""Of the estimate, relative: 0.8 %. P. Flajolet et al., HyperLogLog, AofA 2007."""


class HashBudget:
    """Hashes that may be held, shared by the columns of a table."""

    def __init__(self, hashes: int = MAX_HASHES) -> None:
        self.left = hashes


class DistinctCount:
    """The different values of one column by their hashes: a set while the budget lasts, then HyperLogLog."""

    def __init__(self, budget: HashBudget) -> None:
        self.budget = budget
        self.hashes: Hashes = np.empty(0, dtype=np.uint64)
        self.registers: np.ndarray | None = None  # type: ignore[type-arg]

    @property
    def exact(self) -> bool:
        return self.registers is None

    def add(self, hashes: Hashes) -> None:
        if self.registers is not None:
            _raise_registers(self.registers, hashes)
            return
        fresh = np.unique(hashes)
        if self.hashes.size:
            fresh = fresh[~_is_among(fresh, self.hashes)]
        if not fresh.size:
            return
        if fresh.size > self.budget.left or self.hashes.size + fresh.size > MAX_HASHES_PER_COLUMN:
            self._estimate_from(fresh)
            return
        self.budget.left -= fresh.size
        self.hashes = np.sort(np.concatenate([self.hashes, fresh]), kind="stable")

    def merge(self, other: "DistinctCount") -> None:
        """Take what another has counted."""
        if other.registers is None:
            self.add(other.hashes)
            return
        registers = self._estimate_from(self.hashes[:0]) if self.registers is None else self.registers
        np.maximum(registers, other.registers, out=registers)

    def _estimate_from(self, fresh: Hashes) -> np.ndarray:  # type: ignore[type-arg]
        """Go on with registers, beginning with the hashes so far and these."""
        registers = self.registers = np.zeros(2**PRECISION, dtype=np.uint8)
        _raise_registers(registers, self.hashes)
        _raise_registers(registers, fresh)
        self.budget.left += self.hashes.size
        self.hashes = self.hashes[:0]
        return registers

    def count(self) -> int:
        """Of the values added; see `exact`."""
        return int(self.hashes.size) if self.registers is None else round(_estimate(self.registers))


def _is_among(hashes: Hashes, known_hashes: Hashes) -> np.ndarray:  # type: ignore[type-arg]
    places = np.minimum(np.searchsorted(known_hashes, hashes), known_hashes.size - 1)
    return cast("np.ndarray", known_hashes[places] == hashes)  # type: ignore[type-arg]


def _raise_registers(registers: np.ndarray, hashes: Hashes) -> None:  # type: ignore[type-arg]
    """The first bits of a hash name a register, which keeps the longest run of zeros that the others begin with."""
    if not hashes.size:
        return
    place = (hashes >> np.uint64(64 - PRECISION)).astype(np.int64)
    rest = (hashes << np.uint64(PRECISION)) >> np.uint64(PRECISION)
    # Leading zeros by the exponent of the float: rounding up to a power of two is one in 2**50, and harmless.
    length = np.where(rest == 0, 64 - PRECISION + 1, 64 - PRECISION - np.frexp(rest.astype(np.float64))[1] + 1)
    has_length = np.bincount(place * 64 + length, minlength=registers.size * 64).reshape(-1, 64) > 0
    longest = np.where(has_length.any(axis=1), 63 - has_length[:, ::-1].argmax(axis=1), 0)
    np.maximum(registers, longest.astype(np.uint8), out=registers)


def _estimate(registers: np.ndarray) -> float:  # type: ignore[type-arg]
    m = registers.size
    raw = 0.7213 / (1 + 1.079 / m) * m * m / float(np.ldexp(1.0, -registers.astype(np.int64)).sum())
    empty = int((registers == 0).sum())
    return m * float(np.log(m / empty)) if empty and raw <= 2.5 * m else raw


class RepeatedRows:
    """How many rows equal an earlier one, by their hashes: in memory, then in partitions in a folder of its own.

    The folder takes 8 bytes a row and goes with the block. OSError if the disk is full.
    """

    def __init__(self, scratch: Path | None = None, max_pending: int = MAX_PENDING_ROWS) -> None:
        self.scratch, self.max_pending = scratch, max_pending
        self.pending: list[Hashes] = []
        self.pending_rows = self.rows = 0
        self.files: list[IO[bytes]] = []
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stack.close()

    def add(self, hashes: Hashes) -> None:
        self.rows += hashes.size
        self.pending.append(hashes)
        self.pending_rows += hashes.size
        if self.pending_rows > self.max_pending:
            self._spill()

    def count(self) -> int:
        different = sum(np.unique(np.concatenate(self.pending)).size for _ in (1,) if self.pending and not self.files)
        if self.files:
            self._spill()
            different += sum(np.unique(_read_hashes(file)).size for file in self.files)
        return int(self.rows - different)

    def export(self, folder: Path) -> "RowHashes":
        """Write the hashes, sorted by range, into a file that other processes read; the folder goes with the run."""
        if not self.files:
            ordered = np.sort(np.concatenate([np.empty(0, dtype=np.uint64), *self.pending]))
            parts: Iterator[Hashes] = iter([ordered])
            ends = np.searchsorted(ordered >> np.uint64(56), np.arange(PARTITIONS + 1))
        else:
            self._spill()
            sizes = [file.seek(0, os.SEEK_END) // 8 for file in self.files]
            ends = np.cumsum([0, *sizes])
            parts = (_read_hashes(file) for file in self.files)
        handle, name = tempfile.mkstemp(dir=folder, prefix="rows-", suffix=".u64")
        with os.fdopen(handle, "wb") as out:
            for part in parts:
                out.write(part.tobytes())
        return RowHashes(Path(name), ends.tolist(), self.rows)

    def _spill(self) -> None:
        if not self.files:
            folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="rows-", dir=self.scratch))
            for place in range(PARTITIONS):
                part = tempfile.TemporaryFile(prefix=f"{place:03}-", dir=folder, buffering=0)  # noqa: SIM115  the stack's
                self.files.append(self.stack.enter_context(part))
        if not self.pending:
            return
        ordered = np.sort(np.concatenate(self.pending))
        self.pending, self.pending_rows = [], 0
        ends = np.searchsorted(ordered >> np.uint64(56), np.arange(PARTITIONS + 1))
        for place, file in enumerate(self.files):
            file.write(ordered[ends[place] : ends[place + 1]].tobytes())


def _read_hashes(file: IO[bytes]) -> Hashes:
    file.seek(0)
    return np.frombuffer(file.read(), dtype=np.uint64)


@dataclass(frozen=True)
class RowHashes:
    """The hashes of the rows of a partition in a file: range n of 256 lies between `ends[n]` and `ends[n + 1]`."""

    path: Path
    ends: Sequence[int]
    rows: int

    def read(self, place: int) -> Hashes:
        """The hashes of one range."""
        begin, end = self.ends[place], self.ends[place + 1]
        return np.fromfile(self.path, dtype=np.uint64, count=end - begin, offset=8 * begin)


def count_different_rows(parts: Sequence[RowHashes], places: Iterable[int]) -> int:
    """How many different rows all partitions have in these ranges."""
    return sum(np.unique(np.concatenate([part.read(place) for part in parts])).size for place in places)
