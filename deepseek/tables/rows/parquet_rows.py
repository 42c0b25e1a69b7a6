"""Rows of Parquet files by number: only the row groups that hold them are read, and those that may match a filter.

Files come in order and have one schema. Columns are read in pieces of at most BUFFER_BYTES, in one thread: what reads
the files belongs to Python (range_file.py), and a thread of a pool that lets go of it at the end aborts the process.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.tables.rows.blocks import Block
from deepseek.tables.rows.predicates import Selection, decode, is_text, read_bounds

BUFFER_BYTES = 4 << 20
BATCH_ROWS = 65_536
ROWS_PER_LOOKUP = 8_192
"""Rows decoded at once where single rows are read with all their columns."""
FILES_PER_BLOCK = 64
"""Files that are ruled out before the reader hears of it."""
EMPTY = pa.RecordBatch.from_pylist([], pa.schema([]))


@dataclass(frozen=True)
class RowGroup:
    """A row group and the number of its first row in the whole table."""

    file: int
    place: int
    first: int
    rows: int


class ParquetRows:
    """Parquet files one after another. `rows` of each: where all are known, only footers that are needed are read."""

    def __init__(self, files: Sequence[IO[bytes]], rows: Sequence[int | None] = ()) -> None:
        self.files = files
        self.metadata: dict[int, Any] = {}
        self.groups: dict[int, list[RowGroup]] = {}
        self.schema = self._open(0).schema_arrow
        known = [count for count in rows if count is not None]
        if len(known) < len(files):
            known = [self._read_metadata(number).num_rows for number in range(len(files))]
        self.ends = list(accumulate(known))  # of each file: its rows and those before
        self.total: int | None = self.ends[-1]

    def _read_metadata(self, number: int) -> Any:
        if number not in self.metadata:
            self._open(number)
        return self.metadata[number]

    def list_groups(self, number: int) -> list[RowGroup]:
        """The row groups of one file."""
        if number not in self.groups:
            metadata = self._read_metadata(number)
            first = self.ends[number - 1] if number else 0
            if first + metadata.num_rows != self.ends[number]:
                raise ValueError(f"file {number} has {metadata.num_rows} rows, not {self.ends[number] - first}")
            self.groups[number] = []
            for place in range(metadata.num_row_groups):
                group = RowGroup(number, place, first, metadata.row_group(place).num_rows)
                self.groups[number].append(group)
                first += group.rows
        return self.groups[number]

    def iter_groups(self, start: int = 0) -> Iterator[RowGroup]:
        """The row groups of all files from that of row `start` on."""
        for number in range(bisect_right(self.ends, start), len(self.files)):
            yield from self.list_groups(number)

    def _open(self, number: int, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
        self.files[number].seek(0)
        source = pa.PythonFile(self.files[number], mode="r")
        parquet = pq.ParquetFile(
            source,
            metadata=self.metadata.get(number),
            read_dictionary=list(dictionaries) or None,
            pre_buffer=False,
            buffer_size=BUFFER_BYTES,
        )
        self.metadata[number] = parquet.metadata
        return parquet

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
        if not self.metadata[0].num_row_groups:
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
        skipped, last_file = 0, -1
        for group in self.iter_groups(start) if groups is None else groups:
            if group.first + group.rows <= start:
                continue
            last_file = group.file if last_file < 0 else last_file
            if not self.can_match(group, selection):
                skipped += group.rows
                if group.file - last_file >= FILES_PER_BLOCK:  # the reader may be out of time
                    yield Block(group.first + group.rows, EMPTY, skipped)
                    skipped, last_file = 0, group.file
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
            yield Block(self.total or 0, EMPTY, skipped)

    def read_rows(self, numbers: Sequence[int], columns: Sequence[str]) -> pa.Table:
        by_group: dict[RowGroup, list[int]] = {}
        for number in numbers:
            groups = self.list_groups(bisect_right(self.ends, number))
            place = bisect_right(groups, number, key=attrgetter("first")) - 1
            by_group.setdefault(groups[place], []).append(number)
        opened: dict[int, pq.ParquetFile] = {}
        parts: list[pa.Table] = []
        for group, rows in by_group.items():
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
        groups = list(self.iter_groups())
        for group in groups:
            ends = read_bounds(self.get_statistics(group, column))
            if ends is None:
                return groups
            bounds[group.first] = ends[descending]
        try:
            return sorted(groups, key=lambda group: bounds[group.first], reverse=descending)
        except TypeError:
            return groups
