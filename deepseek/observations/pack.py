"""Write rows that landed as lines of JSON into Parquet files, a file for each part.

    python -m deepseek.observations.pack < lines

Each part begins with a line {"kind", "rows", "out"}: lines with so many rows follow, each the list of the columns of
some rows, and `out` names the file that they become.
The same lines make the same bytes. Where the header has "layouts", [[model, version, layout], ...], the features of
those versions are counted by them too, shadows left out. Prints {"parts": [{"rows", "bytes", "profiles": [[model,
version, profile], ...]}]}. The plane runs it in a bounded child.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from deepseek.observations.columns import flatten_features
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


def pack_parts(lines: Iterator[bytes], open_out: Callable[[str], Any]) -> list[dict[str, Any]]:
    """Write every part that `lines` holds; {rows, bytes, profiles} of each."""
    done: list[dict[str, Any]] = []
    for line in lines:
        header = json.loads(line)
        schema, left, written = SCHEMAS[header["kind"]], header["rows"], 0
        counter = FeatureCounter(header.get("layouts") or ())
        with open_out(header["out"]) as file:
            with pq.ParquetWriter(file, schema, compression="zstd", version="2.6") as writer:
                while left:
                    table = read_table(lines, schema, min(left, ROWS_PER_GROUP))
                    if not table.num_rows:
                        raise ValueError(f"{left} rows are missing")
                    writer.write_table(table)
                    counter.update(table)
                    left -= table.num_rows
                    written += table.num_rows
            done.append({"rows": written, "bytes": file.tell(), "profiles": counter.build_profiles()})
    return done


class FeatureCounter:
    """Profiles of the features of a part, by model and version, of those versions that have a layout."""

    def __init__(self, layouts: Iterable[tuple[str, int, Mapping[str, Any]]]) -> None:
        self.profiles: dict[tuple[str, int], Any] = {}
        if layouts := list(layouts):  # NumPy and SciPy are loaded where somebody counts
            from deepseek.drift.layout import Layout
            from deepseek.drift.profile import Profile

            self.profiles = {(model, version): Profile(Layout.from_dict(layout)) for model, version, layout in layouts}

    def update(self, table: pa.Table) -> None:
        for (model, version), profile in self.profiles.items():
            chosen = pc.and_(pc.equal(table["model"], model), pc.equal(table["version"], version))
            rows = table.filter(pc.and_(chosen, pc.and_(pc.is_valid(table["features"]), pc.invert(table["shadow"]))))
            if rows.num_rows:
                profile.update(read_features(rows["features"], profile.layout))

    def build_profiles(self) -> list[list[Any]]:
        return [[*key, profile.to_dict()] for key, profile in self.profiles.items() if profile.rows]


def read_features(texts: pa.ChunkedArray, layout: Any) -> Any:
    """A batch of features as deepseek.drift.columns reads it: a table where all are flat objects of the layout's types,
    which Arrow reads in a tenth of the time, else rows."""
    numbers = {feature.name for feature in layout.features if feature.kind == "number"}
    fields = [(feature.name, pa.float64() if feature.name in numbers else pa.string()) for feature in layout.features]
    options = pj.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="infer")
    values = texts.to_pylist()
    if values[0].startswith("{"):
        try:
            table = pj.read_json(io.BytesIO("\n".join(values).encode()), parse_options=options)
        except pa.ArrowInvalid:  # of other types than the layout's, nested in part, or not a number
            table = None
        if table is not None and table.num_rows == len(values) and not has_changed_types(table.schema, layout):
            return table
    return [{str(name): cell for name, cell in flatten_features(json.loads(value)).items()} for value in values]


def has_changed_types(schema: pa.Schema, layout: Any) -> bool:
    """Whether Arrow takes a text of a column that the layout does not have for a time, or nests."""
    names = {feature.name for feature in layout.features}
    return any(pa.types.is_nested(field.type) and field.name in names for field in schema)


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
