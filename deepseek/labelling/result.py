"""What was agreed, as files of a dataset version: JSON lines to train on, and a table of all that is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deepseek.labelling.schema import LabellingSchema

TEXTS_FILE, TABLE_FILE, IMAGES_FILE = "texts.jsonl", "annotations.parquet", "images.csv"
ROWS_AT_ONCE = 10_000


def write_result(results: Iterable[Mapping[str, Any]], schema: LabellingSchema, folder: Path) -> dict[str, Any]:
    """Write the files; returns {files, images, rows, columns, annotators, minutes}.

    `results`: {row, data, marks, state, annotators, seconds}, as the plane lists them. A text's line has text, spans,
    relations, fields and its row of the source; the table has one row for each task, with nested values as JSON.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table_schema = pa.schema(
        [
            ("source_row", pa.int64()),
            ("text" if schema.data != "image" else "image", pa.string()),
            ("class", pa.string()),
            ("spans", pa.string()),
            ("relations", pa.string()),
            ("fields", pa.string()),
            ("decided", pa.string()),
            ("annotators", pa.string()),
            ("seconds", pa.float64()),
        ]
    )
    names = table_schema.names
    annotators: set[str] = set()
    images: list[str] = []
    seconds, rows = 0.0, 0
    lines_path, table_path, images_path = folder / TEXTS_FILE, folder / TABLE_FILE, folder / IMAGES_FILE
    with lines_path.open("w", encoding="utf-8") as lines, pq.ParquetWriter(table_path, table_schema) as table:
        batch: list[dict[str, Any]] = []
        for result in results:
            marks, data = result["marks"], result["data"]
            content = data.get("text", data.get("image", ""))
            if schema.data == "image":
                images.append(content)
            lines.write(json.dumps(build_line(result, content, schema), ensure_ascii=False) + "\n")
            values = (
                result["row"],
                content,
                marks.get("class", ""),
                *(json.dumps(marks.get(name, empty), ensure_ascii=False) for name, empty in EMPTY.items()),
                result["state"],
                ",".join(result["annotators"]),
                result["seconds"],
            )
            batch.append(dict(zip(names, values, strict=True)))
            annotators.update(result["annotators"])
            seconds, rows = seconds + result["seconds"], rows + 1
            if len(batch) == ROWS_AT_ONCE:
                table.write_table(pa.Table.from_pylist(batch, schema=table_schema))
                batch = []
        if batch:
            table.write_table(pa.Table.from_pylist(batch, schema=table_schema))
    files = {TEXTS_FILE: lines_path, TABLE_FILE: table_path}
    if schema.data == "image":
        write_image_labels(lines_path, images_path)
        lines_path.unlink()
        files = {IMAGES_FILE: images_path, TABLE_FILE: table_path}
    return {
        "files": files,
        "images": images,
        "rows": rows,
        "columns": [{"name": field.name, "dtype": str(field.type)} for field in table_schema],
        "annotators": sorted(annotators),
        "minutes": round(seconds / 60, 2),
    }


EMPTY: dict[str, Any] = {"spans": [], "relations": [], "fields": {}}


def build_line(result: Mapping[str, Any], content: str, schema: LabellingSchema) -> dict[str, Any]:
    marks = result["marks"]
    line: dict[str, Any] = {"text" if schema.data != "image" else "image": content}
    if schema.labels:
        line["spans"] = marks.get("spans", [])
    for name in ("relations", "class", "fields"):
        if marks.get(name):
            line[name] = marks[name]
    return line | {"source_row": result["row"]}


def write_image_labels(lines: Path, target: Path) -> None:
    """images.csv of a dataset of images: path, label."""
    with lines.open(encoding="utf-8") as source, target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for line in source:
            record = json.loads(line)
            writer.writerow([record["image"], record.get("class", "")])
