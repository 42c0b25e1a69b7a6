"""The records of a collection as a Parquet table, written in pieces: however many there are, memory stays bounded."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.collect.spec import CollectSpec

PIECE_ROWS = 20_000
MOMENT = pa.timestamp("us", tz="UTC")
HEAD = [
    ("source_url", pa.string()),
    ("fetched_at", MOMENT),
    ("status", pa.int32()),
    ("digest", pa.string()),
    ("page", pa.int64()),
    ("item", pa.int64()),
]
TYPES = {"number": pa.float64(), "date": MOMENT}


def build_schema(spec: CollectSpec) -> pa.Schema:
    """Where each record comes from, then its fields in the order in which the spec first names them."""
    fields = {field.name: TYPES.get(field.type, pa.string()) for page in spec.pages for field in page.fields}
    return pa.schema([*HEAD, *fields.items()])


def write_records(lines: Path, path: Path, schema: pa.Schema) -> int:
    """Write the JSON lines as Parquet; returns how many. The same lines give the same bytes."""
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6", data_page_version="1.0") as writer:
        for piece in _split_lines(lines):
            writer.write_table(pa.table([_build_column(piece, field) for field in schema], schema=schema))
            written += len(piece)
    return written


def _split_lines(lines: Path) -> Iterator[list[dict[str, Any]]]:
    with lines.open(encoding="utf-8", errors="replace", newline="\n") as file:
        while piece := [json.loads(line) for line in islice(file, PIECE_ROWS)]:
            yield piece


def _build_column(piece: list[dict[str, Any]], field: pa.Field) -> pa.Array:
    values = [row.get(field.name) for row in piece]
    if pa.types.is_timestamp(field.type):
        values = [None if value is None else _to_datetime(value) for value in values]
    return pa.array(values, field.type)


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
