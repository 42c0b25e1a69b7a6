"""Row origins of a version: runs of 16 bytes, ascending by row, read by ranges from the artifact store.

A run is two little-endian unsigned 64-bit integers (row, source_row): from `row` on, row r was the source row
source_row + (r - row), until the next run begins. NOWHERE: no origin, a row that a step put in. Rows count from 0 here,
and from 1 wherever a person or a program names one.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from apps.data.datasets.models import DatasetVersion
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.verification import open_verified, read_verified

SLOT, META = "origins", "origins"
RUN = struct.Struct("<QQ")
NO_ORIGIN = 2**64 - 1
NARROW_READ_BYTES = 4096 * RUN.size  # bytes that are read at once when a range is narrow enough


@dataclass(frozen=True, slots=True)
class RowOriginRef:
    """The row origins of a new version: the source version, and the runs or the fact that all rows are kept."""

    origin_version: DatasetVersion
    origins: Artifact | None
    keeps_rows: bool

    def fields(self) -> dict[str, Any]:
        return {"origin_version": self.origin_version, "origins": self.origins, "keeps_rows": self.keeps_rows}


def read_row_origins(
    meta: Mapping[str, Any],
    outputs: Mapping[str, tuple[str, Artifact, str, str, Mapping[str, Any]]],
    source: DatasetVersion | None,
) -> RowOriginRef | None:
    """What the table's meta and the job's outputs tell of the rows; None where nothing is told, or of no version."""
    origin_kind = meta.get(META)
    if source is None:
        return None
    if origin_kind == "kept":
        return RowOriginRef(source, None, True)
    if origin_kind == "runs" and SLOT in outputs and outputs[SLOT][1].size % RUN.size == 0:
        return RowOriginRef(source, outputs[SLOT][1], False)
    return None


def find_source_row(artifact: Artifact, row: int) -> int | None:
    """The source row of `row`; None for one without origin. A few narrow reads, whatever the length of the runs.

    Raises Damaged if the store has lost the bytes.
    """
    first, stop = 0, artifact.size // RUN.size  # the run wanted, if there is one, is in [first, behind)
    while stop - first > NARROW_READ_BYTES // RUN.size:
        middle = (first + stop) // 2
        if read_runs(artifact, middle, middle + 1)[0][0] <= row:
            first = middle
        else:
            stop = middle
    runs = read_runs(artifact, first, stop) if stop > first else []
    index = bisect_right(runs, row, key=lambda run: run[0]) - 1
    if index < 0 or runs[index][1] == NO_ORIGIN:
        return None
    return runs[index][1] + row - runs[index][0]


def find_output_rows(artifact: Artifact, source_rows: Sequence[int], rows: int | None, most: int) -> list[int]:
    """The rows that were any of the source rows `wanted`, ascending, at most `most`. Reads every run once, streamed.

    `rows`: how many the version has, where that is known; the last run ends there.
    """
    sought = sorted(source_rows)
    output_rows: list[int] = []
    last: tuple[int, int] | None = None

    def take(run: tuple[int, int], end: int | None) -> None:
        start, source = run
        if source == NO_ORIGIN:
            return
        at = bisect_right(sought, source - 1)
        while at < len(sought) and (end is None or sought[at] - source < end - start):
            output_rows.append(start + sought[at] - source)
            at += 1

    for run in iter_runs(artifact):
        if last is not None:
            take(last, run[0])
        last = run
        if len(output_rows) >= most:
            return output_rows[:most]
    if last is not None:
        take(last, rows)
    return output_rows[:most]


def read_runs(artifact: Artifact, first: int, stop: int) -> list[tuple[int, int]]:
    """The runs [first, behind)."""
    return list(RUN.iter_unpack(read_verified(artifact, first * RUN.size, stop * RUN.size)))


def iter_runs(artifact: Artifact) -> Iterator[tuple[int, int]]:
    """Yield every run in order, streamed from the store."""
    rest = b""
    with closing(open_verified(artifact)) as reading:
        for chunk in reading:
            data = rest + chunk
            complete = len(data) - len(data) % RUN.size
            yield from RUN.iter_unpack(data[:complete])
            rest = data[complete:]
