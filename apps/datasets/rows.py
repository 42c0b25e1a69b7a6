"""Rows of a CSV file from any record on: a page of a long table costs what its first page costs.

A place in the file is the byte where a record begins, which the page before has told. From another byte the rows are
nonsense, but no more is read for them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field

from apps import policy
from apps.actors import Actor
from apps.artifacts.verification import read_verified
from apps.datasets.manifest import dialect_of
from apps.datasets.models import DatasetVersion
from apps.datasets.reads import PREVIEW_BYTES, PREVIEW_CHARACTERS, PREVIEW_ROWS, table_of
from deepseek.tables.csv_dialect import Dialect


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows `first` and on, None where a cell is missing; `next_at`: where the row behind them begins, if any does."""

    columns: list[str]
    rows: list[list[str | None]] = field(default_factory=list)
    first: int = 1
    next_at: int | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1


def rows_at(actor: Actor, version: DatasetVersion, at: int = 0, first: int = 1) -> Rows | None:
    """Up to PREVIEW_ROWS rows of the version's table from byte `at` on, 0 being its header; None if it is no CSV."""
    policy.require(actor, "dataset.view", version)
    table = table_of(actor, version)
    dialect = dialect_of(table.media_type) if table else None
    if table is None or dialect is None:
        return None
    size = table.artifact.size
    head = records(table.artifact_id, dialect, 0, size)
    names, start = next(head, ([], 0))
    found: list[list[str | None]] = []
    end = at or start
    for cells, after in records(table.artifact_id, dialect, end, size) if at else head:
        if len(found) == PREVIEW_ROWS:
            break
        found.append([cell[:PREVIEW_CHARACTERS] or None for cell in cells])
        end = after
    return Rows(names, found, first if at else 1, end if found and end < size else None)


def records(digest: str, dialect: Dialect, at: int, size: int) -> Iterator[tuple[list[str], int]]:
    """(cells, the byte behind them) of the records that lie whole in the PREVIEW_BYTES from `at` on."""
    data = piece(digest, at, size)
    whole = at + len(data) >= size
    lines = Lines(data, dialect, whole=whole)
    reader = csv.reader(lines, delimiter=dialect.delimiter)
    while True:
        try:
            cells = next(reader)
        except (StopIteration, csv.Error):  # the upload has checked the file: a fault is the end of what was read
            return
        if lines.ended and not whole:
            return  # a quoted cell goes on behind what was read
        if cells:
            yield cells, at + lines.taken


class Lines:
    """The lines of some bytes, decoded; `taken` bytes were given out, `ended` once more were asked for."""

    def __init__(self, data: bytes, dialect: Dialect, *, whole: bool) -> None:
        # No byte of a longer character is a line end, neither in UTF-8 nor in GB18030.
        self.lines, self.encoding = iter(data.splitlines(keepends=True)), dialect.encoding
        self.size, self.whole, self.taken, self.ended = len(data), whole, 0, False

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line, first = next(self.lines, b""), self.taken == 0
        end = self.taken + len(line)
        # The last line may go on, and a \r at its end may be half of \r\n.
        if not line or (end == self.size and not self.whole and not line.endswith(b"\n")):
            self.ended = True
            raise StopIteration
        self.taken = end
        text = line.decode(self.encoding, "replace")
        return text.removeprefix("\ufeff") if first else text


def piece(digest: str, at: int, size: int) -> bytes:
    if at >= size:
        return b""
    return read_verified(digest, at, min(size, at + PREVIEW_BYTES))
