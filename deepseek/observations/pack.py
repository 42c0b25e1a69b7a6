"""Write rows that landed as lines of JSON into Parquet files, a file for each part.

    python -m deepseek.observations.pack < lines

Each part begins with a line {"kind", "rows", "out"}: so many lines follow, and `out` names the file that they become.
The same lines make the same bytes. Prints {"parts": [{"rows", "bytes"}]}. The plane runs it in a bounded child.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
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
                    rows = [json.loads(row) for row in islice(lines, min(left, ROWS_PER_GROUP))]
                    if not rows:
                        raise ValueError(f"{left} rows are missing")
                    writer.write_table(build_table(rows, schema))
                    left -= len(rows)
                    written += len(rows)
            done.append({"rows": written, "bytes": file.tell()})
    return done


def build_table(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    columns: Iterable[Any] = zip(*rows, strict=True)
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)


def main() -> None:
    def open_out(path: str) -> Any:
        return pa.OSFile(path, "wb")

    parts = pack_parts(iter(sys.stdin.buffer), open_out)
    os.write(1, json.dumps({"parts": parts}).encode())


if __name__ == "__main__":
    main()
