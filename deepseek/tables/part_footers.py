"""Compare the columns of Parquet parts by their footers alone: python -m deepseek.tables.part_footers.

A process that reads no table itself sends them to standard input; the answer is one JSON object, or {"errors": [...]}
with exit code 2 for what is wrong with a part.
A frame for each part: the length of its name (4 bytes, little-endian), the name, the length of what follows (4 bytes),
and the end of the file from the footer's metadata on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.files import normalize_schema, refuse_duplicate_names
from deepseek.tables.memory_limits import FIELD
from deepseek.tables.part_manifest import LENGTH
from deepseek.tables.parts import build_broken_part_error, build_schema_error

MAGIC = b"PAR1"


@dataclass(frozen=True)
class PartsDescription:
    """Columns of every part, as [{name, dtype}], and the rows of each, in the order in which they were given."""

    columns: list[dict[str, str]]
    rows: list[int]


def read_frames(stream: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """(name, end of the file) of each part."""
    while head := stream.read(LENGTH.size):
        name = stream.read(*LENGTH.unpack(head)).decode()
        yield name, stream.read(*LENGTH.unpack(stream.read(LENGTH.size)))


def describe_parts(frames: Iterable[tuple[str, bytes]]) -> PartsDescription:
    """Read the columns and rows of the parts. Raises EngineError ``broken_parquet``, ``partition_schema_differs``,
    ``table_empty`` where no part has a row, and ``duplicate_column``.
    """
    schema: pa.Schema | None = None
    rows: list[int] = []
    for name, footer in frames:
        try:
            metadata = pq.read_metadata(pa.BufferReader(MAGIC + footer))
            part_schema = normalize_schema(metadata.schema.to_arrow_schema(), nested=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise build_broken_part_error(name, error) from error
        if schema is None:
            schema = part_schema
            refuse_duplicate_names(schema.names)
        elif part_schema != schema:
            raise build_schema_error(schema, part_schema, name)
        rows.append(metadata.num_rows)
    if schema is None or not sum(rows):
        raise EngineError(
            "table_empty",
            "None of the {count} parts has a row.",
            count=len(rows),
            field=FIELD,
            limit="at least one row in all",
            hint=N_("Check that the export that made the files has finished."),
        )
    return PartsDescription([{"name": field.name, "dtype": str(field.type)} for field in schema], rows)


def main() -> int:
    try:
        parts = describe_parts(read_frames(sys.stdin.buffer))
    except EngineError as error:
        json.dump({"errors": [error.as_dict()]}, sys.stdout)
        return error.exit_code
    json.dump(asdict(parts), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
