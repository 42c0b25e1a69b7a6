"""The partitions of an input table: a folder of Parquet files, one such file, or another table, kept as such first."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from deepseek.clean.execution import write_parquet
from deepseek.messages import Message
from deepseek.partitions.carriers import Carrier, get_values
from deepseek.partitions.csv_reading import RangedTable, read_in_ranges
from deepseek.partitions.progress import PartitionProgress
from deepseek.partitions.sources import PartitionSource, partition_arrow, partition_parquet
from deepseek.tables.files import build_empty_table_error
from deepseek.tables.parts import format_part_name, list_parts
from deepseek.tables.sources import ParquetBatches, TableSource, label_errors, open_table
from deepseek.tables.spec import CsvSpec
from deepseek.tables.streams import JoinedBatches

ROWS_PER_PARTITION = 250_000
"""About as many rows as a partition has where nobody asks for a number: a lost one is soon done again."""
MAX_PARTITIONS = 1_000


@dataclass
class PartitionedTable:
    """A table in partitions, with remarks on how it was read."""

    sources: list[PartitionSource]
    notes: list[str] = field(default_factory=list)
    format: str = "parquet"  # that the table came in
    csv: CsvSpec | None = None
    missing: dict[str, int] | None = None  # values by column, where they were counted while it was read

    @property
    def rows(self) -> int:
        return sum(source.rows for source in self.sources)


def open_partitions(
    path: Path,
    csv: CsvSpec,
    scratch: Path,
    partitions: int | None,
    processes: int,
    carrier: Carrier,
    *,
    slot: str = "inputs/table",
    hide: bool = False,
    rewrites: bool = False,
    nested: bool = False,
    progress: PartitionProgress | None = None,
) -> PartitionedTable:
    """The table at `path` in `partitions` (None: by its rows, and at least one for each of the carrier's `processes`).

    A folder holds Parquet files of one schema, in the order of their paths. A CSV file is read in ranges of bytes by
    the carrier (csv_reading.py). Another table, and a CSV file that cannot be cut, is read in one process and kept as
    Parquet in `scratch` first. Raises what `open_table` and `partition_parquet` do, and ``table_empty`` for a folder
    without rows; `slot`, `hide`, `rewrites` and `nested` as of `open_table`. `progress`, if given, receives the rows of
    the partitions.
    """
    table = _open_ranges(path, csv, scratch, partitions, processes, carrier, slot=slot, hide=hide, progress=progress)
    if table is None:
        table = _open_files(
            path, csv, scratch, partitions, processes, slot=slot, hide=hide, rewrites=rewrites, nested=nested
        )
    if progress is not None:
        progress.set_rows([source.rows for source in table.sources])
    return table


def _open_ranges(
    path: Path,
    csv: CsvSpec,
    scratch: Path,
    partitions: int | None,
    processes: int,
    carrier: Carrier,
    *,
    slot: str,
    hide: bool,
    progress: PartitionProgress | None,
) -> PartitionedTable | None:
    if path.is_dir():
        return None
    with label_errors(path, slot, hide=hide):
        read: RangedTable | None = read_in_ranges(path, csv, scratch, carrier, processes, hide=hide, progress=progress)
    if read is None:
        return None
    count = min(partitions or choose_partitions(read.rows, processes), read.rows)
    return PartitionedTable(partition_arrow(read.files, read.schema, count), read.notes, "csv", read.csv, read.missing)


def _open_files(
    path: Path,
    csv: CsvSpec,
    scratch: Path,
    partitions: int | None,
    processes: int,
    *,
    slot: str,
    hide: bool,
    rewrites: bool,
    nested: bool,
) -> PartitionedTable:
    source: TableSource | None = None
    if path.is_dir():
        files = list_parts(path)
    elif is_parquet(path):
        files = [path]
    else:
        source = open_table(path, csv, scratch, slot=slot, hide=hide, rewrites=True, nested=nested)
        files = [scratch / "input.parquet"]
        write_parquet(source.batches, files[0])
    names = [format_part_name(file, path) if path.is_dir() else path.name for file in files]
    for file in files if rewrites else ():
        ParquetBatches(file).refuse_large_row_groups()
    sources = partition_parquet(files, 1, names=names, nested=nested)
    rows = sum(source.rows for source in sources)
    if not rows:
        raise build_empty_table_error(Message("The table has a header but no rows."), path)
    count = partitions or choose_partitions(rows, processes)
    partitions_of_rows = partition_parquet(files, min(count, rows), names=names, nested=nested)
    if source is None:
        return PartitionedTable(partitions_of_rows)
    return PartitionedTable(partitions_of_rows, source.notes, source.format, source.csv)


def choose_partitions(rows: int, processes: int) -> int:
    """As many partitions as keep every process busy, of a bounded number of rows."""
    return min(max(processes, math.ceil(rows / ROWS_PER_PARTITION)), MAX_PARTITIONS)


def is_parquet(path: Path) -> bool:
    """Whether the file begins as a Parquet file does. A file that cannot be read is none: opening it says why."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def count_missing(source: PartitionSource) -> dict[str, int]:
    """The missing values of a partition by column."""
    batches = source.open()
    counted = dict.fromkeys(batches.schema.names, 0)
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            counted[name] += column.null_count
    return counted


def build_table_source(table: PartitionedTable, carrier: Carrier) -> TableSource:
    """The table as one source, its missing values counted partition by partition where that was not done before."""
    nulls = table.missing
    if nulls is None:
        counted = get_values(carrier.run(count_missing, table.sources, lambda _: None))
        nulls = {name: sum(each[name] for each in counted) for name in counted[0]}
    batches = JoinedBatches([source.open() for source in table.sources])
    return TableSource(batches, nulls, list(table.notes), format=table.format, csv=table.csv)
