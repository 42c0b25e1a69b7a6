"""A table in parts as the outputs of a run: one file, or a folder of files in the order of the rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from deepseek.clean.execution import write_parquet
from deepseek.partitions.sources import cast_batches
from deepseek.tables.sources import ParquetBatches
from deepseek.tables.streams import JoinedBatches

SLOT = FOLDER = "table"
FILE = "table.parquet"
TABLE_TYPE = "application/vnd.apache.parquet"


@dataclass(frozen=True)
class PartFile:
    """A file of the table: its output slot, its path below the folder of outputs, and its rows."""

    slot: str
    name: str
    rows: int


def publish_parts(
    parts: Sequence[tuple[Path, int]],
    schema: pa.Schema,
    stage: Path,
    *,
    in_parts: bool,
    advance: Callable[[int], None] = lambda rows: None,
) -> list[PartFile]:
    """Move the parts, (file, rows) in the order of the rows, into the folder of outputs.

    With `in_parts` each becomes ``table/part-NNNNN.parquet``, those without rows left out unless all are; else they are
    joined into ``table.parquet``, the same bytes as of a table that was written in one piece. `advance` receives the
    rows joined so far.
    """
    if not in_parts:
        present = [path for path, rows in parts if rows] or [parts[0][0]]
        batches = JoinedBatches([cast_batches(ParquetBatches(path), schema) for path in present])
        written = write_parquet(batches, stage / FILE, advance)
        return [PartFile(SLOT, FILE, written.rows)]
    (stage / FOLDER).mkdir()
    files = []
    for number, (path, rows) in enumerate([part for part in parts if part[1]] or parts[:1]):
        name = f"{FOLDER}/part-{number:05}.parquet"
        os.rename(path, stage / name)
        files.append(PartFile(f"{SLOT}/part-{number:05}.parquet", name, rows))
    return files
