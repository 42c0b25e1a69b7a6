"""Cut a CSV file into ranges of bytes that begin with a record.

Whether a line end parts records or stands in a quoted cell follows from all quotes before it. Mostly those around it
tell as well. Where they do not, it is taken for one between records; who reads the range before finds where its last
record ends, and so whether that is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from deepseek.tables.csv_quotes import count_line_ends, find_cell_quotes, find_outside, find_unquoted_line_ends

LOOK_BACK_BYTES = LOOK_AHEAD_BYTES = 1 << 20
"""How far around a cut a quote, and behind it a line end, are looked for."""
COUNT_BYTES = 8 << 20  # read at a time to count lines


@dataclass(frozen=True)
class CsvRange:
    """The records of a UTF-8 file that begin from byte `start` on and before byte `end`, which follows a line end."""

    header: bytes
    start: int
    end: int


def cut_into_ranges(path: Path, header: bytes, start: int, count: int, delimiter: bytes) -> list[CsvRange]:
    """The file from byte `start` on, where its first row begins, in at most `count` ranges of about equal length."""
    size = path.stat().st_size
    cuts = {start + (size - start) * number // count for number in range(1, count)} - {start}
    ends = {_find_record_start(path, start, cut, delimiter) for cut in cuts} - {None}
    bounds = [start, *sorted(end for end in ends if end is not None and start < end < size), size]
    return [CsvRange(header, begin, end) for begin, end in pairwise(bounds)]


def _find_record_start(path: Path, start: int, cut: int, delimiter: bytes) -> int | None:
    """Where the first record begins from byte `cut` on, as far as the bytes around tell; None where none is near."""
    first = max(start, cut - LOOK_BACK_BYTES)
    with path.open("rb") as file:
        file.seek(first)
        data = file.read(cut - first + LOOK_AHEAD_BYTES)
    begin = find_outside(data[: cut - first], delimiter)
    if begin is None:
        begin = 0 if first == start else data.find(b"\n") + 1
    rest = data[begin:]
    places = find_cell_quotes(rest, delimiter)
    ends = find_unquoted_line_ends(rest, np.empty(0, np.int64) if places is None else places) + begin + 1
    ends = ends[ends >= cut - first]
    return first + int(ends[0]) if ends.size else None


def count_lines_before(path: Path, end: int) -> int:
    """The line ends in the first `end` bytes of a file."""
    lines, returned = 0, False
    for chunk in _iter_chunks(path, end):
        lines += count_line_ends(chunk) - (returned and chunk.startswith(b"\n"))
        returned = chunk.endswith(b"\r")
    return lines


def _iter_chunks(path: Path, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(min(COUNT_BYTES, end - file.tell())):
            yield chunk
