"""Pages of rows of a CSV file: any page of a long table costs as much as the first.

A page is addressed by the byte offset of its first record, which the page before returns. From any other offset cells
stand under other columns: who takes it from a request signs it (rows/places.py), or hidden cells would be shown.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from apps.core import policy
from apps.core.actors import Actor
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import PREVIEW_BYTES, PREVIEW_CHARACTERS, PREVIEW_ROWS, find_table_file
from apps.data.datasets.versions.manifest import parse_dialect
from apps.platform.artifacts.verification import read_verified
from deepseek.tables.csv_dialect import CsvDialect
from deepseek.tables.csv_records import iter_records


@dataclass(frozen=True, slots=True)
class RowPage:
    """Rows `first` and on, None where a cell is missing; `next_at`: where the row behind them begins, if any does."""

    columns: list[str]
    rows: list[list[str | None]] = field(default_factory=list)
    first: int = 1
    next_at: int | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


def read_rows(actor: Actor, version: DatasetVersion, at: int = 0, first: int = 1) -> RowPage | None:
    """Up to PREVIEW_ROWS rows of the version's table from byte `at` on, 0 being its header; None if it is no CSV."""
    policy.require(actor, "dataset.view", version)
    table = find_table_file(actor, version)
    dialect = parse_dialect(table.media_type) if table else None
    if table is None or dialect is None:
        return None
    size = table.artifact.size
    head = iter_csv_records(table.artifact_id, dialect, 0, size)
    names, start = next(head, ([], 0))
    rows: list[list[str | None]] = []
    end = at or start
    for cells, after in iter_csv_records(table.artifact_id, dialect, end, size) if at else head:
        if len(rows) == PREVIEW_ROWS:
            break
        rows.append([cell[:PREVIEW_CHARACTERS] or None for cell in cells])
        end = after
    return RowPage(names, rows, first if at else 1, end if rows and end < size else None)


def iter_csv_records(digest: str, dialect: CsvDialect, at: int, size: int) -> Iterator[tuple[list[str], int]]:
    """(cells, the byte behind them) of the records that lie whole in the PREVIEW_BYTES from `at` on."""
    data = read_piece(digest, at, size)
    with suppress(csv.Error):  # the upload has checked the file: a fault is the end of what was read
        for cells, end in iter_records(data, dialect, is_complete=at + len(data) >= size):
            yield cells, at + end


def read_piece(digest: str, at: int, size: int) -> bytes:
    if at >= size:
        return b""
    return read_verified(digest, at, min(size, at + PREVIEW_BYTES))
