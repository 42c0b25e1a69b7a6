"""Tables as re-readable record batches: data larger than memory is read again for each pass."""

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

from deepseek.tables.files import ROW_GROUP_ROWS


class Batches(Protocol):
    """Record batches of one schema, in the order of the rows. Each iteration begins anew, at the first row."""

    schema: pa.Schema
    rows: int | None
    """None where only reading to the end would tell."""

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


class TableBatches:
    """A table in memory, as batches of at most `size` rows."""

    def __init__(self, table: pa.Table, size: int = ROW_GROUP_ROWS) -> None:
        self.table, self.size = table, size
        self.schema: pa.Schema = table.schema
        self.rows: int | None = table.num_rows

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self.table.to_batches(max_chunksize=self.size))
