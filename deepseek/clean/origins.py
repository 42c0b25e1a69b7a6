"""From which row of the input each row of the output comes, as runs of neighbours that stayed neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.steps_spec import ROW_KINDS

__all__ = ["INSERTED_ROW", "MEDIA_TYPE", "ROW_KINDS", "OriginRuns"]

MEDIA_TYPE = "application/vnd.plane.row-origins"
INSERTED_ROW = 2**64 - 1
"""The source row of a run of rows that a step inserted."""


class OriginRuns:
    """Runs of (row, source row), gathered batch by batch. A run goes on until the next one begins."""

    def __init__(self) -> None:
        self.rows = 0
        self._runs: list[npt.NDArray[np.uint64]] = []
        self._next: int | None = None  # the source row that would go on the last run; -1 for inserted rows

    def add(self, origins: pa.Array) -> None:
        """The source rows of the next rows; missing for rows that were inserted."""
        source = origins.fill_null(-1).to_numpy(zero_copy_only=False)
        if not source.size:
            return
        inserted = source < 0
        before = np.empty_like(source)
        before[1:] = source[:-1]
        goes_on = np.where(inserted, before == -1, (source == before + 1) & (before >= 0))
        goes_on[0] = self._next is not None and int(source[0]) == self._next
        starts = np.flatnonzero(~goes_on)
        runs = np.empty((starts.size, 2), dtype=np.uint64)
        runs[:, 0] = starts + self.rows
        runs[:, 1] = np.where(inserted[starts], INSERTED_ROW, source[starts].astype(np.uint64))
        self._runs.append(runs)
        self.rows += source.size
        self._next = -1 if inserted[-1] else int(source[-1]) + 1

    @classmethod
    def join(cls, parts: Sequence[tuple[npt.NDArray[np.uint64], int]]) -> OriginRuns:
        """The runs of a table in parts: (runs, rows) of each, whose rows are counted from 0."""
        joined = cls()
        last: tuple[int, int] | None = None  # the row and the source row that the last run began at
        for own, rows in parts:
            runs = own.copy()
            runs[:, 0] += np.uint64(joined.rows)
            if len(runs) and last is not None:
                row, source = int(runs[0, 0]), int(runs[0, 1])
                is_inserted = last[1] == INSERTED_ROW
                if source == (INSERTED_ROW if is_inserted else last[1] + row - last[0]):
                    runs = runs[1:]
            joined._runs.append(runs)
            joined.rows += rows
            last = (int(runs[-1, 0]), int(runs[-1, 1])) if len(runs) else last
        return joined

    @property
    def runs(self) -> npt.NDArray[np.uint64]:
        """Shape (runs, 2)."""
        return np.concatenate(self._runs) if self._runs else np.zeros((0, 2), dtype=np.uint64)

    def is_identity(self, rows: int) -> bool:
        """Whether every row of an input of so many is the output's row at the same place."""
        runs = self.runs
        return self.rows == rows and (rows == 0 or (len(runs) == 1 and not runs.any()))

    def write(self, path: Path) -> None:
        """Records of two little-endian unsigned integers of 64 bits."""
        path.write_bytes(self.runs.astype("<u8").tobytes())
