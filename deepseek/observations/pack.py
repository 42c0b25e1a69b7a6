"""Write rows that landed as lines of JSON into Parquet files, a file for each part.

    python -m deepseek.observations.pack < lines

Each part begins with a line {"kind", "rows", "out"}: lines with so many rows follow, each the list of the columns of
some rows, and `out` names the file that they become.
The same lines make the same bytes. Prints {"parts": [{"rows", "bytes"}]}. The plane runs it in a bounded child.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.observations.spec import LABEL_COLUMNS, PREDICTION_COLUMNS

ROWS_PER_GROUP = 20_000
INSTANT = pa.timestamp("us", tz="UTC")
TYPES = {
    "id": pa.string(),
    "at": INSTANT,
    "model": pa.string(),
    "version": pa.int32(),
    "variant": pa.string(),
    "shadow": pa.bool_(),
    "answer": pa.string(),
    "features": pa.string(),
    "features_digest": pa.string(),
    "latency_ms": pa.float64(),
    "label": pa.string(),
}
SCHEMAS = {
    "predictions": pa.schema([(name, TYPES[name]) for name in PREDICTION_COLUMNS]),
    "labels": pa.schema([(name, TYPES[name]) for name in LABEL_COLUMNS]),
}


def pack_parts(lines: Iterator[bytes], open_out: Callable[[str], Any]) -> list[dict[str, int]]:
    """Write every part that `lines` holds; {rows, bytes} of each."""
    done = []
    for line in lines:
        header = json.loads(line)
        schema, left, written = SCHEMAS[header["kind"]], header["rows"], 0
        with open_out(header["out"]) as file:
            with pq.ParquetWriter(file, schema, compression="zstd", version="2.6") as writer:
                while left:
                    table = read_table(lines, schema, min(left, ROWS_PER_GROUP))
                    if not table.num_rows:
                        raise ValueError(f"{left} rows are missing")
                    writer.write_table(table)
                    left -= table.num_rows
                    written += table.num_rows
            done.append({"rows": written, "bytes": file.tell()})
    return done


def read_table(lines: Iterator[bytes], schema: pa.Schema, most: int) -> pa.Table:
    """The next rows, as many lines as it takes for `most`. A line holds the columns of many rows, or, of an older
    plane, one row."""
    tables, rows, single = [], 0, []
    while rows < most and (line := next(lines, None)) is not None:
        if line.startswith(b"[["):
            columns = json.loads(line)
            tables.append(build_table(columns, schema))
            rows += tables[-1].num_rows
        else:
            single.append(json.loads(line))
            rows += 1
    if single:
        tables.append(build_table(list(zip(*single, strict=True)), schema))
    return pa.concat_tables(tables).combine_chunks() if tables else schema.empty_table()


def build_table(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)


def main() -> None:
    def open_out(path: str) -> Any:
        return pa.OSFile(path, "wb")

    parts = pack_parts(iter(sys.stdin.buffer), open_out)
    os.write(1, json.dumps({"parts": parts}).encode())


if __name__ == "__main__":
    main()
