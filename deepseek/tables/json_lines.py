"""A table as JSON lines: one object a row, read in blocks of whole lines."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json

from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.tables.files import build_empty_table_error, get_first_line, normalize_batch, normalize_schema
from deepseek.tables.memory_limits import FIELD, MAX_JSON_DEPTH, MAX_JSON_KEYS, MAX_RECORD_BYTES
from deepseek.tables.streams import SpilledBatches

TRUTH, NUMBER, TEXT, NESTED = Message("true or false"), "a number", "a text", "a list or an object"
"""What a value can be, where columns hold one kind of values."""

MAX_CELLS_PER_PARSE = 4 * 2**20
"""Of a part of a file that is parsed at once, missing ones included."""
SCANNED_BYTES = 1 << 20
STRING_PATTERN = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"?(\s*:)?', re.DOTALL)
"""A text, and the colon that makes it a name. One without an end matches too, or each quote in it would be tried."""
OPENING, CLOSING = np.frombuffer(b"[{", dtype=np.uint8), np.frombuffer(b"]}", dtype=np.uint8)


def is_json(begin: bytes) -> bool:
    """Whether a text begins as JSON lines do: with an object, whose first name is quoted, or that is empty."""
    head = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    return head[:1] == b"{" and head[1:].lstrip()[:1] in (b'"', b"}", b"")


def read_json_lines(path: Path, folder: Path | None, block: int) -> SpilledBatches:
    """One object a line. Two passes: the first finds the columns and their types, the second reads with them.

    Raises EngineError ``broken_json``, ``column_changes_type``, ``nested_column``, ``table_empty``, ``json_too_deep``,
    ``too_many_columns``.
    """
    types: dict[str, pa.DataType] = {}
    kinds: dict[str, str] = {}
    row = 0
    for data in iter_json_blocks(path, block):
        refuse_deep_nesting(data, row)
        table = _parse_with_types(data, types)
        if table is not None:
            row += table.num_rows
            continue
        keys = count_keys(data, types, row)
        for piece in cut_lines(data, keys):
            table = _parse_block(piece, None, row, kinds)
            piece_kinds = {field.name: _get_type_kind(field.type) for field in table.schema}
            if any(kind and kinds.setdefault(name, kind) != kind for name, kind in piece_kinds.items()):
                raise _build_row_error(piece, row, kinds, None)
            for field in normalize_schema(table.schema):
                previous = types.get(field.name)
                types[field.name] = field.type if previous is None else _merge_types(previous, field.type)
            row += table.num_rows
    if not types:
        raise build_empty_table_error(
            Message("The table has no columns.") if row else Message("The file has no rows."), path
        )
    schema = pa.schema(list(types.items()))
    spilled = SpilledBatches(schema, folder)
    row = 0
    for data in iter_json_blocks(path, block):
        for piece in cut_lines(data, len(types)):
            table = _parse_block(piece, schema, row, kinds).select(schema.names)
            for batch in table.combine_chunks().to_batches():
                spilled.add(normalize_batch(batch, schema))
            row += table.num_rows
    return spilled.finish()


def _parse_with_types(data: bytes, types: Mapping[str, pa.DataType]) -> pa.Table | None:
    """The block read with the columns found so far; None where it has others, of which nothing is read then."""
    if not types or data.count(b"\n") * len(types) > MAX_CELLS_PER_PARSE:
        return None
    try:
        return _parse_json(data, pa.schema(list(types.items())), unexpected_fields="error")
    except (pa.ArrowException, ValueError):
        return None


# -- bounds ---------------------------------------------------------------------------------------------------------
def refuse_deep_nesting(data: bytes, row: int) -> None:
    """Raise EngineError ``json_too_deep``: the parser calls itself for each level, until its stack ends the process.

    Rows part where a brace that opens stands on the line behind one that closes: nowhere else does JSON have that. Only
    a block with a row of so many brackets, in its texts perhaps, is taken apart.
    """
    raw = np.frombuffer(data, dtype=np.uint8)
    opening = np.flatnonzero((raw == ord("[")) | (raw == ord("{")))
    ends = np.flatnonzero(raw[:-1] == ord("\n"))
    before = raw[np.maximum(ends - np.where(raw[ends - 1] == ord("\r"), 2, 1), 0)]
    parts = ends[(before == ord("}")) & (raw[ends + 1] == ord("{"))]
    if np.diff(np.searchsorted(opening, parts), prepend=0, append=opening.size).max() <= MAX_JSON_DEPTH:
        return
    outside = data.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")  # of the same length, without escaped quotes
    depth = quotes = 0
    for start in range(0, len(outside), SCANNED_BYTES):
        raw = np.frombuffer(outside[start : start + SCANNED_BYTES], dtype=np.uint8)
        step = np.isin(raw, OPENING).astype(np.int8) - np.isin(raw, CLOSING).astype(np.int8)
        quote_counts = quotes + np.cumsum(raw == ord('"'))
        step[quote_counts % 2 == 1] = 0
        levels = depth + np.cumsum(step, dtype=np.int64)
        if levels.max() > MAX_JSON_DEPTH:
            raise _build_too_deep_error(row + count_rows(data[: start + int(np.argmax(levels > MAX_JSON_DEPTH)) + 1]))
        depth, quotes = int(levels[-1]), int(quote_counts[-1])


def _build_too_deep_error(row: int) -> EngineError:
    return EngineError(
        "json_too_deep",
        "Row {row} nests lists or objects more than {max_json_depth} deep.",
        row=row,
        max_json_depth=MAX_JSON_DEPTH,
        field=FIELD,
        value=f"row {row}",
        limit=str(MAX_JSON_DEPTH),
        hint=N_("Flatten it before: a table has one value in each cell."),
    )


def count_keys(data: bytes, names: Iterable[str], row: int) -> int:
    """How many columns the table has with those of this block; EngineError ``too_many_columns`` where it is too many.

    A name that stands within a list or an object counts too: the table is refused for that later.
    """
    keys = {name.encode() for name in names}
    for match in STRING_PATTERN.finditer(data):
        if match[2]:
            keys.add(match[1])
            if len(keys) > MAX_JSON_KEYS:
                raise EngineError(
                    "too_many_columns",
                    "In row {row:,} the table comes to more than {max_json_keys:,} different names.",
                    row=row + count_rows(data[: match.end()]),
                    max_json_keys=MAX_JSON_KEYS,
                    field=FIELD,
                    value=match[1][:80].decode(errors="replace"),
                    limit=str(MAX_JSON_KEYS),
                    hint=N_("Write what varies as values: one name for the key, and one for its value."),
                )
    return len(keys)


def count_rows(data: bytes) -> int:
    """Lines that hold something, the last one, which may be cut, included."""
    return sum(bool(line.strip()) for line in data.splitlines())


def cut_lines(data: bytes, columns: int) -> Iterator[bytes]:
    """Cut the block into parts of whole lines, of at most MAX_CELLS_PER_PARSE cells each."""
    lines = max(1, MAX_CELLS_PER_PARSE // max(1, columns))
    if data.count(b"\n") <= lines:
        yield data
        return
    rows = data.splitlines(keepends=True)
    for start in range(0, len(rows), lines):
        part = b"".join(rows[start : start + lines])
        if part.strip():
            yield part


def iter_json_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Whole lines, about so many bytes of them at once."""
    rest, line = b"", 1
    with path.open("rb") as file:
        file.seek(3 if file.read(3) == b"\xef\xbb\xbf" else 0)
        while chunk := file.read(size):
            end = chunk.rfind(b"\n") + 1
            if end:
                yield rest + chunk[:end]
                rest, line = chunk[end:], line + chunk.count(b"\n")
            else:
                rest += chunk
            if len(rest) > MAX_RECORD_BYTES:
                raise _build_broken_json_error(
                    Message(
                        "Line {line} does not end within {max_record_bytes} bytes.",
                        line=line,
                        max_record_bytes=MAX_RECORD_BYTES,
                    ),
                    rest,
                )
    if rest.strip():
        yield rest


def _merge_types(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The type that values of both can be read as; text where there is no other."""
    if a == b or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    return pa.float64() if {a, b} == {pa.int64(), pa.float64()} else pa.string()


def _parse_block(data: bytes, schema: pa.Schema | None, row: int, kinds: Mapping[str, str]) -> pa.Table:
    """A block, below which `row` rows lie; `kinds`: what the columns held there."""
    try:
        return _parse_json(data, schema)
    except (pa.ArrowException, ValueError) as error:
        raise _build_row_error(data, row, kinds, schema) from error


def _parse_json(data: bytes, schema: pa.Schema | None, unexpected_fields: str = "infer") -> pa.Table:
    return pa.json.read_json(
        pa.BufferReader(data),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=max(len(data) + 64, 1 << 16)),
        parse_options=pa.json.ParseOptions(
            explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior=unexpected_fields
        ),
    )


def _build_row_error(data: bytes, row: int, kinds: Mapping[str, str], schema: pa.Schema | None) -> EngineError:
    """What is wrong, with the row: a line that is no object, or a value of another type than those above it."""
    kind_by_name = dict(kinds)
    lines = [line for line in data.splitlines() if line.strip()]
    for number, line in enumerate(lines, start=row + 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            return _build_broken_json_error(Message("Row {number} is no JSON object.", number=number), line)
        for name, value in record.items():
            kind = _get_value_kind(value)
            if kind and kind_by_name.setdefault(name, kind) != kind:
                return EngineError(
                    "column_changes_type",
                    "The column {name!r} holds {seen} until row {number}, which holds {kind}.",
                    name=name,
                    seen=kind_by_name[name],
                    number=number,
                    kind=kind,
                    field=FIELD,
                    value=str(value)[:200],
                    limit="one type in each column",
                    hint=N_(
                        "Write the values of this column in one type, for instance in quotes, and cast it in a step."
                    ),
                )

    def get_parse_error(count: int) -> str:
        """What Arrow says against so many lines; it counts rows from the first of them."""
        try:
            _parse_json(b"\n".join(lines[:count]), schema)
        except (pa.ArrowException, ValueError) as error:
            return re.sub(r" in row \d+$", "", get_first_line(error))
        return ""

    # Every line is an object of its own for Python, not for Arrow: a name stands twice in it, for instance.
    first = bisect_left(range(1, len(lines)), True, key=lambda count: bool(get_parse_error(count)))
    number, why = row + first + 1, get_parse_error(first + 1)
    return _build_broken_json_error(
        Message("Row {number} cannot be read: {why}.", number=number, why=why), lines[first]
    )


def _build_broken_json_error(message: str, line: bytes) -> EngineError:
    return EngineError(
        "broken_json",
        message,
        field=FIELD,
        value=line[:200].decode(errors="replace"),
        limit="one JSON object in each line",
        hint=N_("Write each row as one object on a line of its own."),
    )


def _get_value_kind(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return TRUTH
    return {int: NUMBER, float: NUMBER, str: TEXT}.get(type(value), NESTED)


def _get_type_kind(kind: pa.DataType) -> str:
    """The same of a column that Arrow read; it reads texts that look like times as times."""
    if pa.types.is_null(kind):
        return ""
    if pa.types.is_boolean(kind):
        return TRUTH
    if pa.types.is_nested(kind):
        return NESTED
    return NUMBER if pa.types.is_integer(kind) or pa.types.is_floating(kind) else TEXT
