"""Rows of Parquet files by number: only the row groups that hold them are read, and those that may match a filter.

Files come in order and have one schema. Columns are read in pieces of at most BUFFER_BYTES, in one thread: what reads
the files belongs to Python (range_file.py), and a thread of a pool that lets go of it at the end aborts the process.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.tables.rows.blocks import Block
from deepseek.tables.rows.predicates import Selection, decode, is_text, read_bounds

BUFFER_BYTES = 4 << 20
BATCH_ROWS = 65_536
ROWS_PER_LOOKUP = 8_192
"""Rows decoded at once where single rows are read with all their columns."""


@dataclass(frozen=True)
class RowGroup:
    """A row group and the number of its first row in the whole table."""

    file: int
    place: int
    first: int
    rows: int


class ParquetRows:
    """Parquet files one after another."""

    def __init__(self, files: Sequence[IO[bytes]]) -> None:
        self.files = files
        self.metadata: list[Any] = []
        self.groups: list[RowGroup] = []
        first = 0
        for number in range(len(files)):
            parquet = self._open(number)
            self.metadata.append(parquet.metadata)
            if not number:
                self.schema = parquet.schema_arrow
            for place in range(parquet.metadata.num_row_groups):
                rows = parquet.metadata.row_group(place).num_rows
                self.groups.append(RowGroup(number, place, first, rows))
                first += rows
        self.total: int | None = first

    def _open(self, number: int, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
        self.files[number].seek(0)
        source = pa.PythonFile(self.files[number], mode="r")
        metadata = self.metadata[number] if number < len(self.metadata) else None
        return pq.ParquetFile(
            source,
            metadata=metadata,
            read_dictionary=list(dictionaries) or None,
            pre_buffer=False,
            buffer_size=BUFFER_BYTES,
        )

    @cached_property
    def firsts(self) -> list[int]:
        return [group.first for group in self.groups]

    @cached_property
    def leaves(self) -> dict[str, int]:
        """Place of a column among the chunks of a row group, of the columns that are not nested."""
        metadata = self.metadata[0]
        names = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
        return {name: place for place, name in enumerate(names) if name in self.schema.names}

    def get_statistics(self, group: RowGroup, column: str) -> pq.Statistics | None:
        leaf = self.leaves.get(column)
        if leaf is None:
            return None
        chunk = self.metadata[group.file].row_group(group.place).column(leaf)
        return chunk.statistics if chunk.is_stats_set else None

    def can_match(self, group: RowGroup, selection: Selection) -> bool:
        return all(
            predicate.can_match(self.get_statistics(group, predicate.condition.column), group.rows)
            for predicate in selection.predicates
        )

    def find_dictionaries(self, columns: Sequence[str]) -> list[str]:
        """The columns of text that are stored as a dictionary: a condition is then computed once for each value."""
        if not self.groups:
            return []
        group = self.metadata[0].row_group(0)
        return [
            name
            for name in columns
            if name in self.leaves
            and is_text(self.schema.field(name).type)
            and group.column(self.leaves[name]).has_dictionary_page
        ]

    def iter_blocks(
        self, columns: Sequence[str], selection: Selection, start: int, groups: Sequence[RowGroup] | None = None
    ) -> Iterator[Block]:
        dictionaries = self.find_dictionaries(selection.columns)
        opened: dict[int, pq.ParquetFile] = {}
        skipped = 0
        for group in self.groups if groups is None else groups:
            if group.first + group.rows <= start:
                continue
            if not self.can_match(group, selection):
                skipped += group.rows
                continue
            if group.file not in opened:
                opened = {group.file: self._open(group.file, dictionaries)}
            first = group.first
            for batch in opened[group.file].iter_batches(
                BATCH_ROWS, row_groups=[group.place], columns=list(columns), use_threads=False
            ):
                begin = max(0, start - first)
                if begin < batch.num_rows:
                    yield Block(first + begin, batch.slice(begin), skipped)
                    skipped = 0
                first += batch.num_rows
        if skipped:
            yield Block(self.total or 0, pa.RecordBatch.from_pylist([], pa.schema([])), skipped)

    def read_rows(self, numbers: Sequence[int], columns: Sequence[str]) -> pa.Table:
        by_group: dict[int, list[int]] = {}
        for number in numbers:
            by_group.setdefault(bisect_right(self.firsts, number) - 1, []).append(number)
        opened: dict[int, pq.ParquetFile] = {}
        parts: list[pa.Table] = []
        for place, rows in by_group.items():
            group = self.groups[place]
            if group.file not in opened:
                opened[group.file] = self._open(group.file)
            parts.append(self._take(opened[group.file], group, rows, columns))
        return pa.concat_tables(parts) if parts else self.schema.empty_table().select(list(columns))

    def _take(self, parquet: pq.ParquetFile, group: RowGroup, numbers: list[int], columns: Sequence[str]) -> pa.Table:
        """Rows of one group; it is decoded as far as the last of them."""
        first, place, parts = group.first, 0, []
        for batch in parquet.iter_batches(
            ROWS_PER_LOOKUP, row_groups=[group.place], columns=list(columns), use_threads=False
        ):
            end = first + batch.num_rows
            stop = bisect_right(numbers, end - 1)
            if stop > place:
                rows = pa.array([number - first for number in numbers[place:stop]])
                parts.append(pa.table([decode(column).take(rows) for column in batch.columns], batch.schema.names))
            first, place = end, stop
            if place == len(numbers):
                break
        return pa.concat_tables(parts)

    def format_place(self, row: int) -> str:
        return str(row)

    def rank_groups(self, column: str, *, descending: bool) -> list[RowGroup]:
        """The row groups in the order in which an order by `column` is sooner complete: the best values first."""
        bounds = {}
        for group in self.groups:
            ends = read_bounds(self.get_statistics(group, column))
            if ends is None:
                return list(self.groups)
            bounds[group.first] = ends[descending]
        try:
            return sorted(self.groups, key=lambda group: bounds[group.first], reverse=descending)
        except TypeError:
            return list(self.groups)
