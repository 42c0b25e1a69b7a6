"""The two tables of a comparison, read in batches; parted by the hash of the key where they do not fit in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.messages import Message
from deepseek.tables.batches import Batches
from deepseek.tables.files import build_unknown_column_error
from deepseek.tables.parts import list_parts
from deepseek.tables.sources import open_table
from deepseek.tables.spec import CsvSpec

IN_MEMORY_BYTES = 64 << 20  # a larger file is parted, and compared part by part
PART_BYTES = 64 << 20  # of both files together, for one part that is compared in memory
MOST_PARTS = 512
KEY, ROW = "\x00key", "\x00row"  # names that no column of a table has: they hold a NUL
MISSING, BETWEEN = "\x00", "\x1f"


@dataclass
class Side:
    """One of the two tables; `name` is its slot."""

    name: str
    path: Path
    csv: CsvSpec

    def open(self, folder: Path) -> None:
        """Learn the schema; what must be kept of the table goes to `folder`. Raises EngineError as open_table does."""
        source = open_table(self.path, self.csv, folder, slot=f"inputs/{self.name}", nested=True)
        self.size = sum(part.stat().st_size for part in list_parts(self.path))
        self.large = self.size > IN_MEMORY_BYTES
        self.source: Batches = source.batches
        self.schema: pa.Schema = source.batches.schema

    def read_batches(self) -> Iterator[pa.Table]:
        """The rows, in order."""
        for batch in self.source:
            yield pa.Table.from_batches([batch])


def find_key_types(before: Side, after: Side, keys: Sequence[str]) -> list[pa.DataType]:
    """What each key column is compared as: its own type where both tables agree. Raises EngineError unknown_column."""
    for side in (before, after):
        for position, key in enumerate(keys):
            if key not in side.schema.names:
                error = build_unknown_column_error(side.schema.names, key, f"/keys/{position}")
                error.message = Message("The table in {side} has no column {key!r}.", side=side.name, key=key)
                raise error
    return [find_common_type(before.schema.field(key).type, after.schema.field(key).type) for key in keys]


def find_common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    """A type that values of both can be compared in."""
    types = pa.types
    if left.equals(right):
        return left
    if all(types.is_integer(kind) for kind in (left, right)):
        return pa.int64()
    if all(types.is_integer(kind) or types.is_floating(kind) for kind in (left, right)):
        return pa.float64()
    if all(types.is_date(kind) or types.is_timestamp(kind) for kind in (left, right)):
        return pa.timestamp("us")
    return pa.string()


def cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The column as `kind`; as text where that cannot be."""
    if column.type.equals(kind):
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return as_text(column)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # lists, structs
        values = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.string())])


def add_key(table: pa.Table, keys: Sequence[str], types: Sequence[pa.DataType], first_row: int) -> pa.Table:
    """The table with two columns more: the text of its key, and the number of each row, from 1."""
    texts = [
        pc.fill_null(as_text(cast(table.column(key), kind)).cast(pa.string()), MISSING)
        for key, kind in zip(keys, types, strict=True)
    ]
    key = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, BETWEEN)
    rows = pa.array(range(first_row, first_row + table.num_rows), pa.int64())
    return table.append_column(KEY, key).append_column(ROW, rows)


def split_into_parts(side: Side, keys: Sequence[str], types: Sequence[pa.DataType], parts: int, folder: Path) -> int:
    """Write the rows of a side to `parts` files in `folder`, equal keys into the same; how many rows there are."""
    writers: list[pa.ipc.RecordBatchFileWriter | None] = [None] * parts
    rows = 0
    try:
        for table in side.read_batches():
            keyed = add_key(table, keys, types, rows + 1)
            rows += table.num_rows
            hashes = pd.util.hash_array(keyed.column(KEY).to_pandas().to_numpy(dtype=object), categorize=False)
            place = pa.array(hashes % parts)
            for part in range(parts):
                selected = keyed.filter(pc.equal(place, part))
                if selected.num_rows:
                    writer = writers[part]
                    if writer is None:
                        writer = writers[part] = pa.ipc.new_file(build_part_path(folder, side, part), selected.schema)
                    writer.write_table(selected)
    finally:
        for each in writers:
            if each is not None:
                each.close()
    return rows


def read_part(side: Side, folder: Path, part: int) -> pa.Table | None:
    """What `split_into_parts` wrote of this part; None for no row."""
    path = build_part_path(folder, side, part)
    if not path.exists():
        return None
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def build_part_path(folder: Path, side: Side, part: int) -> Path:
    return folder / f"{side.name}-{part}.arrow"
