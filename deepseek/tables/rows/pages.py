"""One page of a table's rows: from a place, of those that match, or of an order; within a time, and bounded memory."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as time_of_day
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deepseek.job import EngineError
from deepseek.tables.rows.blocks import Block, RowSource
from deepseek.tables.rows.parquet_rows import ParquetRows, RowGroup
from deepseek.tables.rows.predicates import (
    Selection,
    build_selection,
    decode,
    find_type,
    is_sortable,
    is_text,
    parse_numbers,
    read_bounds,
    widen,
    widen_type,
)
from deepseek.tables.rows.query import MAX_SORTED, RowQuery

NOTHING = Selection((), None)
MAX_TYPE_CHARACTERS = 500  # of a column of records, whose type names every field


@dataclass
class RowPage:
    """Rows by number, from 0. `scanned`: rows that were read or ruled out to find them; `complete`: whether that is
    all. `matches`: how many match, as far as was read; `next`: where the next page begins."""

    numbers: list[int] = field(default_factory=list)
    scanned: int = 0
    complete: bool = False
    matches: int | None = None
    next: str | None = None


class Deadline:
    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.end


def read_page(source: RowSource, query: RowQuery, start: int) -> dict[str, Any]:
    """The page that the query asks for, as the JSON object that the web process receives."""
    deadline = Deadline(query.seconds)
    selection = build_selection(query.filters, query.search, source.schema, numeric=query.numeric, hidden=query.hidden)
    if query.sort:
        page = find_sorted(source, query, selection, deadline)
    elif selection.is_empty:
        page = find_rows(source, query, start, deadline)
    else:
        page = find_matches(source, query, selection, start, deadline)
    names = source.schema.names[query.first_column : query.first_column + query.max_columns]
    ascending = sorted(page.numbers)
    cells = dict(
        zip(ascending, format_rows(source.read_rows(ascending, names), names, query.max_characters), strict=True)
    )
    return {
        "columns": [
            {"name": name, "type": str(source.schema.field(name).type)[:MAX_TYPE_CHARACTERS]} for name in names
        ],
        "column_count": len(source.schema),
        "rows": [{"number": number, "cells": cells[number]} for number in page.numbers],
        "total": source.total,
        "matches": page.matches,
        "scanned": page.scanned,
        "complete": page.complete,
        "next": page.next,
    }


def find_rows(source: RowSource, query: RowQuery, start: int, deadline: Deadline) -> RowPage:
    """Rows from number `start` on."""
    if source.total is not None:
        end = min(source.total, start + query.limit)
        numbers = list(range(min(start, end), end))
        following = source.format_place(end) if end < source.total else None
        return RowPage(numbers, len(numbers), True, source.total, following)
    page = RowPage(complete=True)
    for block in source.iter_blocks(source.schema.names[:1], NOTHING, start):
        page.numbers += range(block.first, block.first + block.batch.num_rows)
        page.scanned += block.batch.num_rows
        if len(page.numbers) > query.limit:
            page.next = source.format_place(page.numbers[query.limit])
            page.numbers = page.numbers[: query.limit]
            break
        if deadline.is_over:
            page.complete = False
            page.next = source.format_place(page.numbers[-1] + 1) if page.numbers else None
            break
    return page


def find_matches(source: RowSource, query: RowQuery, selection: Selection, start: int, deadline: Deadline) -> RowPage:
    """The first rows from `start` on that match; with `query.count` the rest is read as well, to count them."""
    page = RowPage(matches=0, complete=True)
    reached = start
    for block in source.iter_blocks(selection.columns, selection, start):
        page.scanned += block.skipped + block.batch.num_rows
        reached = block.first + block.batch.num_rows
        mask = selection.compute_mask(block.batch) if block.batch.num_rows else None
        if mask is not None and pc.any(mask).as_py():
            places = pc.indices_nonzero(mask)
            page.matches = (page.matches or 0) + len(places)
            room = query.limit + 1 - len(page.numbers)
            page.numbers += [block.first + place for place in places[:room].to_pylist()]
        is_full = len(page.numbers) > query.limit
        if (is_full and not query.count) or deadline.is_over:
            page.complete = source.total is not None and reached >= source.total
            break
    if len(page.numbers) > query.limit:
        page.next = source.format_place(page.numbers[query.limit])
        page.numbers = page.numbers[: query.limit]
    elif not page.complete:
        page.next = source.format_place(reached)
    return page


# -- orders -----------------------------------------------------------------------------------------------------------
class TopRows:
    """The first `size` rows of an order; rows of equal value in the order of the table, missing values last."""

    def __init__(self, size: int, kind: pa.DataType, *, descending: bool) -> None:
        self.size, self.kind, self.descending = size, kind, descending
        self.table = pa.table({"value": pa.array([], kind), "row": pa.array([], pa.int64())})
        self.worst: Any = None
        self.last_row = -1
        self.missing: list[int] = []
        self.pending: list[pa.Table] = []
        self.pending_rows = 0
        self.is_pruned = False

    def add(self, values: pa.Array, rows: pa.Array) -> None:
        missing = pc.is_null(values, nan_is_null=pa.types.is_floating(values.type))
        if pc.any(missing).as_py():
            self._add_missing(rows.filter(missing))
            keep = pc.invert(missing)
            values, rows = values.filter(keep), rows.filter(keep)
        if self.worst is not None:
            is_better = (pc.greater if self.descending else pc.less)(values, self.worst)
            if len(rows) and rows[0].as_py() < self.last_row:  # out of turn: an equal value may come before
                is_better = pc.or_(is_better, pc.equal(values, self.worst))
            values, rows = values.filter(is_better), rows.filter(is_better)
        if len(values):
            self.pending.append(pa.table({"value": values, "row": rows}))
            self.pending_rows += len(values)
            if self.worst is None or self.pending_rows > self.size:
                self.cut()

    def _add_missing(self, rows: pa.Array) -> None:
        self.missing = heapq.nsmallest(self.size, [*self.missing, *rows[: self.size].to_pylist()])

    def cut(self) -> None:
        table = pa.concat_tables([self.table, *self.pending]).combine_chunks()
        order = "descending" if self.descending else "ascending"
        places = pc.sort_indices(table, sort_keys=[("value", order), ("row", "ascending")])
        self.table = table.take(places[: self.size])
        self.pending, self.pending_rows = [], 0
        if self.table.num_rows == self.size:
            self.worst = self.table["value"][-1]
            self.last_row = pc.max(self.table["row"]).as_py()

    def is_ruled_out(self, best: Any, first: int) -> bool:
        """Whether no row of a group with this best value, its first row of this number, comes into the order."""
        if self.worst is None or best is None:
            return False
        worst = self.worst.as_py()
        try:
            is_worse = best < worst if self.descending else best > worst
            return bool(is_worse or (best == worst and first > self.last_row))
        except TypeError:
            return False

    def list_rows(self) -> list[int]:
        self.cut()
        return [*self.table["row"].to_pylist(), *self.missing][: self.size]


def find_sorted(source: RowSource, query: RowQuery, selection: Selection, deadline: Deadline) -> RowPage:
    """A page of the order by one column; of what was read until the time was over."""
    kind = find_type(source.schema, query.sort, "sort")
    if not is_sortable(kind):
        raise EngineError(
            "not_sortable",
            "The column {column!r} holds {kind}, which has no order.",
            column=query.sort,
            kind=str(kind),
            field="sort",
            value=query.sort[:200],
            limit="numbers, texts, dates, times, true and false",
        )
    as_number = query.sort in query.numeric and is_text(kind)
    size = min(MAX_SORTED, query.offset + query.limit + 1)
    top = TopRows(size, pa.float64() if as_number else widen_type(kind), descending=query.descending)
    columns = list(dict.fromkeys([*selection.columns, query.sort]))
    page = RowPage(matches=0, complete=True)
    for block in iter_ranked_blocks(source, query, selection, columns, top):
        page.scanned += block.skipped + block.batch.num_rows
        if block.batch.num_rows:
            mask = selection.compute_mask(block.batch)
            values = widen(block.batch.column(query.sort))
            rows = pa.array(range(block.first, block.first + block.batch.num_rows), pa.int64())
            if mask is not None:
                values, rows = values.filter(mask), rows.filter(mask)
            page.matches = (page.matches or 0) + len(rows)
            top.add(parse_numbers(values) if as_number else values, rows)
        if deadline.is_over:
            page.complete = False
            break
    numbers = top.list_rows()[query.offset :]
    page.next = str(query.offset + query.limit) if len(numbers) > query.limit else None
    page.numbers = numbers[: query.limit]
    if top.is_pruned:  # rows that cannot come into the order were not counted
        page.matches = None
    return page


def iter_ranked_blocks(
    source: RowSource, query: RowQuery, selection: Selection, columns: Sequence[str], top: TopRows
) -> Any:
    """The blocks of a table, row groups with the best values first, without those that cannot come into the order."""
    if not isinstance(source, ParquetRows):
        yield from source.iter_blocks(columns, selection, 0)
        return
    skipped = 0
    for group in source.rank_groups(query.sort, descending=query.descending):
        if top.is_ruled_out(find_best(source, group, query), group.first):
            skipped += group.rows
            top.is_pruned = True
            continue
        yield from source.iter_blocks(columns, selection, 0, [group])
    if skipped:
        yield Block(0, pa.RecordBatch.from_pylist([], pa.schema([])), skipped)


def find_best(source: ParquetRows, group: RowGroup, query: RowQuery) -> Any:
    """The best value of a group; None where it does not say."""
    bounds = read_bounds(source.get_statistics(group, query.sort))
    return bounds[query.descending] if bounds else None


# -- cells ------------------------------------------------------------------------------------------------------------
def format_rows(table: pa.Table, names: Sequence[str], longest: int) -> list[list[str | None]]:
    """The cells as text of at most `longest` characters, None where one is missing."""
    columns = []
    for name in names:
        column = decode(table.column(name))
        if is_text(column.type):
            column = pc.utf8_slice_codeunits(column, 0, longest)
        elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            column = pc.cast(pc.binary_length(column), pa.int64())
            columns.append([None if size is None else f"<{size} bytes>" for size in column.to_pylist()])
            continue
        columns.append([format_cell(value, longest) for value in list_values(column)])
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in range(table.num_rows)]


def list_values(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column; as texts where Python has no such value, as a date after the year 9999."""
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):
        return list(pc.cast(column, pa.string()).to_pylist())


def format_cell(value: Any, longest: int) -> str | None:
    if value is None or value != value:  # NaN is missing
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)[:longest]
    return str(value)[:longest]
