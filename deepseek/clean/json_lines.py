"""A table as JSON lines: one object a row, read in blocks of whole lines."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from deepseek.clean.streams import Spilled
from deepseek.clean.tables import FIELD, empty_table, first_line, plain, plain_schema
from deepseek.job import EngineError


def is_json(begin: bytes) -> bool:
    """Whether a text begins as JSON lines do: with an object, whose first name is quoted, or that is empty."""
    head = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    return head[:1] == b"{" and head[1:].lstrip()[:1] in (b'"', b"}", b"")


def json_lines(path: Path, folder: Path | None, block: int) -> Spilled:
    """One object a line. Two passes: the first finds the columns and their types, the second reads with them.

    Raises EngineError ``broken_json``, ``column_changes_type``, ``nested_column``, ``table_empty``.
    """
    found: dict[str, pa.DataType] = {}
    row = 0
    for data in json_blocks(path, block):
        table = _json_table(path, data, None, row)
        for each in plain_schema(table.schema):
            known = found.get(each.name)
            found[each.name] = each.type if known is None else _wider(known, each.type)
        row += table.num_rows
    if not found:
        raise empty_table("The table has no columns." if row else "The file has no rows.", path)
    schema = pa.schema(list(found.items()))
    kept = Spilled(schema, folder)
    row = 0
    for data in json_blocks(path, block):
        table = _json_table(path, data, schema, row).select(schema.names)
        for batch in table.combine_chunks().to_batches():
            kept.add(plain(batch, schema))
        row += table.num_rows
    return kept.done()


def json_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Whole lines, about so many bytes of them at once."""
    rest = b""
    with path.open("rb") as file:
        file.seek(3 if file.read(3) == b"\xef\xbb\xbf" else 0)
        while chunk := file.read(size):
            end = chunk.rfind(b"\n") + 1
            if end:
                yield rest + chunk[:end]
                rest = chunk[end:]
            else:
                rest += chunk
    if rest.strip():
        yield rest


def _wider(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The type that values of both can be read as; text where there is no other."""
    if a == b or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    if {a, b} == {pa.int64(), pa.float64()}:
        return pa.float64()
    return pa.string()


def _json_table(path: Path, data: bytes, schema: pa.Schema | None, row: int) -> pa.Table:
    try:
        return pa.json.read_json(
            io.BytesIO(data),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=max(len(data) + 64, 1 << 16)),
            parse_options=pa.json.ParseOptions(explicit_schema=schema, newlines_in_values=False),
        )
    except (pa.ArrowException, ValueError) as error:
        raise _json_fault(path, data, row, error) from error


def _json_fault(path: Path, data: bytes, row: int, error: Exception) -> EngineError:
    """What is wrong, with the row: a line that is no object, or a value of another type than those above it."""
    seen: dict[str, str] = {}
    for number, line in enumerate((line for line in data.splitlines() if line.strip()), start=row + 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            return EngineError(
                "broken_json",
                f"Row {number} is no JSON object.",
                field=FIELD,
                value=line[:200].decode(errors="replace"),
                limit="one JSON object in each line",
                hint="Write each row as one object on a line of its own.",
            )
        for name, value in record.items():
            kind = _json_kind(value)
            if kind and seen.setdefault(name, kind) != kind:
                return EngineError(
                    "column_changes_type",
                    f"The column {name!r} holds {seen[name]} until row {number}, which holds {kind}.",
                    field=FIELD,
                    value=str(value)[:200],
                    limit="one type in each column",
                    hint="Write the values of this column in one type, for instance in quotes, and cast it in a step.",
                )
    return EngineError(
        "broken_json",
        f"The JSON lines cannot be read: {first_line(error)}",
        field=FIELD,
        value=path.name,
        hint="Write each row as one object on a line of its own.",
    )


def _json_kind(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true or false"
    return {int: "a number", float: "a number", str: "a text"}.get(type(value), "a list or an object")
