"""What the pages of rows need of a table, whatever its format: blocks of rows in order, and single rows by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from deepseek.tables.rows.predicates import Selection


@dataclass(frozen=True)
class Block:
    """Rows of the table from number `first`, counted from 0. `skipped`: so many rows before it cannot match."""

    first: int
    batch: pa.RecordBatch
    skipped: int = 0


class RowSource(Protocol):
    """A table. `total` is its rows, None where only reading it would tell."""

    schema: pa.Schema
    total: int | None

    def iter_blocks(self, columns: Sequence[str], selection: Selection, start: int) -> Iterator[Block]:
        """The rows from number `start` on, without row groups that cannot match the selection."""

    def read_rows(self, numbers: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows of these numbers, ascending, that `iter_blocks` has passed."""

    def format_place(self, row: int) -> str:
        """Where to begin in order to read on from this row: what `after` of the next query is."""
