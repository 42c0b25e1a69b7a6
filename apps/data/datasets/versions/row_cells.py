"""Cells of one row of a CSV table, read if the row is close enough to the start of the file.

Other tables, and rows far into a large file, are left to a job.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.data.datasets.models import DatasetFile
from apps.data.datasets.queries import PREVIEW_CHARACTERS
from apps.data.datasets.versions.manifest import parse_dialect
from apps.data.datasets.versions.row_pages import iter_csv_records

MAX_PAIRS = 12  # cells that a page shows
MAX_BYTES_READ = 16 * 2**20  # bytes that are read to find a row


@dataclass(frozen=True, slots=True)
class RowCells:
    """A row as text, None where a cell is missing, and the bytes [start, end) of the file that it takes."""

    columns: list[str]
    values: list[str | None]
    start: int
    end: int

    @property
    def pairs(self) -> list[tuple[str, str | None]]:
        """The first cells with their names, as a page has room for them."""
        return list(zip(self.columns, self.values, strict=False))[:MAX_PAIRS]

    @property
    def more(self) -> bool:
        return len(self.values) > MAX_PAIRS


def read_row_cells(file: DatasetFile, row: int) -> RowCells | None:
    """Row `row`, from 1, of a CSV file; None where the file is none, or the row lies beyond what is read for it.

    Raises Damaged if the store has lost the file.
    """
    dialect = parse_dialect(file.media_type)
    if dialect is None:
        return None
    digest, size = file.artifact_id, file.artifact.size
    names: list[str] | None = None
    at, number = 0, 0
    while at < min(size, MAX_BYTES_READ):
        before = at
        for cells, after in iter_csv_records(digest, dialect, at, size):
            start, at = at, after
            if names is None:
                names = cells
                continue
            number += 1
            if number == row:
                return RowCells(names, [cell[:PREVIEW_CHARACTERS] or None for cell in cells], start, after)
        if at == before:
            return None  # a record longer than what is read at once
    return None
