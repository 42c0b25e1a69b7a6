"""Read CSV and Parquet tables, detected by content, and write deterministic Parquet."""

import difflib
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from deepseek.job import EngineError
from deepseek.memory import get_allowed_bytes
from deepseek.messages import N_, Message
from deepseek.tables.csv_faults import (
    BYTE_ORDER_MARK,
    ENCODING_FIELD,
    LINE_NUMBERING,
    CsvError,
    build_cell_count_error,
    build_misplaced_mark_error,
)
from deepseek.tables.csv_quotes import (
    count_unquoted_delimiters,
    find_cell_quotes,
    find_last_record_end,
    find_record_end,
)
from deepseek.tables.csv_records import decode_chunks, find_line, read_chunks, split_lines
from deepseek.tables.memory_limits import BASE_BYTES, FIELD, MAX_RECORD_BYTES, refuse_large_table, refuse_many_columns
from deepseek.tables.parquet_size import refuse_large_parquet
from deepseek.tables.spec import CsvSpec

ROW_GROUP_ROWS = 131_072
_CHUNK_BYTES = 1 << 20
HEADER_BYTES = 1 << 16  # of a CSV file, to begin with
CSV_EXPANSION = 9  # bytes in memory for one of a file, at most: a cell of one digit is kept in 8, and a bit
PARQUET_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "data_page_version": "1.0",
    "write_statistics": True,
}
"""How Parquet is written, with what `choose_dictionaries` says. With row groups of ROW_GROUP_ROWS it makes the same
bytes at once and group by group."""
DICTIONARY_SAMPLE_ROWS = 4096


def read_table(path: Path, spec: CsvSpec) -> pa.Table:
    """Read the file at `path`. Columns are contiguous, floats hold null where they were NaN, dictionaries are decoded.

    Raises what `read_as_is` does.
    """
    return normalize_table(read_as_is(path, spec))


def read_as_is(path: Path, spec: CsvSpec, texts: Sequence[str] = ()) -> pa.Table:
    """The same with every NaN as it stands: for who must tell a wrong value from one that is missing.

    The columns `texts` of a CSV file are text, whatever they look like.

    Raises EngineError: ``input_unreadable``, ``table_empty`` (no bytes, no columns or no rows), ``csv_undecodable``
    with the position, ``csv_broken_row`` with the line, ``duplicate_column``, ``broken_parquet``.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise build_unreadable_input_error(path, error) from error
    if not magic:
        raise build_empty_table_error(Message("The file is empty: it has no bytes."), path)
    table = _read_parquet(path) if magic == b"PAR1" else _read_csv(path, spec, texts)
    refuse_duplicate_names(table.column_names)
    if table.num_columns == 0:
        raise build_empty_table_error(Message("The table has no columns."), path)
    if table.num_rows == 0:
        raise build_empty_table_error(Message("The table has a header but no rows."), path)
    return table


def build_unreadable_input_error(path: Path, error: OSError) -> EngineError:
    """Build the error for a file that the operating system refuses to open or read."""
    return EngineError(
        "input_unreadable",
        "Cannot read {path_name}: {strerror}.",
        path_name=path.name,
        strerror=error.strerror,
        field=FIELD,
        value=str(path),
        hint=N_("Name a CSV or Parquet file that exists and may be read."),
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Write Parquet: the same table and library version give the same bytes, however the table was chunked before."""
    contiguous = table.replace_schema_metadata(None).combine_chunks()
    dictionaries = choose_dictionaries(contiguous)
    pq.write_table(contiguous, path, row_group_size=ROW_GROUP_ROWS, use_dictionary=dictionaries, **PARQUET_OPTIONS)


def choose_dictionaries(head: pa.Table) -> list[str] | bool:
    """The columns that are written with a dictionary, by the first rows of a table.

    Numbers and moments that hardly repeat get none: it would be as large as the column, and takes most of the time of
    writing. Texts always have one (parquet_size.py looks for the longest there), and nested columns.
    """
    if any(pa.types.is_nested(field.type) for field in head.schema):
        return True
    sample = head.slice(0, DICTIONARY_SAMPLE_ROWS)
    return [
        field.name
        for field in head.schema
        if not (pa.types.is_integer(field.type) or pa.types.is_float64(field.type) or pa.types.is_timestamp(field.type))
        or 2 * pc.count_distinct(sample.column(field.name)).as_py() <= sample.num_rows
    ]


def require_columns(names: Sequence[str], required: Sequence[str]) -> None:
    """Raise EngineError ``unknown_column`` for the first of `required` not among `names`, naming what comes near."""
    for position, name in enumerate(required):
        if name not in names:
            raise build_unknown_column_error(names, name, f"/columns/{position}")


def build_unknown_column_error(names: Sequence[str], name: str, field: str) -> EngineError:
    """Build the error for a column that `field` of the spec names and the table lacks, with suggestions."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    suggestions = near or list(names[:20])
    return EngineError(
        "unknown_column",
        "The table has no column {name!r}.",
        name=name,
        field=field,
        value=name,
        limit="a column of the table",
        hint=(
            Message("Did you mean {n}?", n=", ".join(repr(n) for n in suggestions))
            if near
            else Message("The table has {n}.", n=", ".join(repr(n) for n in suggestions))
        ),
    )


def _read_parquet(path: Path) -> pa.Table:
    try:
        # Through a file object: given a path, pyarrow would also read folder names such as key=value as columns.
        with open_native_file(path) as file:
            refuse_large_parquet(file)
            table = pq.read_table(file)
        table.validate(full=True)  # text that is not UTF-8 would fail only when it is shown
        _ = table.column_names  # and so would names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise build_broken_parquet_error(path, error) from error
    return table


def open_native_file(path: Path) -> pa.NativeFile:
    """Open the file at `path` with pyarrow's own file class.

    Not as a file of Python's: the threads that read columns would hold it, and the one that lets go of it while the
    interpreter leaves ends the process by SIGABRT.
    """
    return pa.OSFile(os.fsencode(path))


def build_broken_parquet_error(path: Path, error: Exception) -> EngineError:
    """Build the error for a Parquet file that pyarrow cannot read."""
    return EngineError(
        "broken_parquet",
        "The Parquet file cannot be read: {first_line}",
        first_line=get_first_line(error),
        field=FIELD,
        value=path.name,
        hint=N_("The file may be cut short; copy it again and compare its SHA-256."),
    )


def _read_csv(path: Path, spec: CsvSpec, texts: Sequence[str]) -> pa.Table:
    check_encoding(path, spec.encoding)
    refuse_bad_header(path, spec)
    _refuse_large_csv(path, spec)
    rows: list[pa.csv.InvalidRow] = []

    def record_row(row: "pa.csv.InvalidRow") -> str:
        rows.append(row)
        return "error"

    def read(handler: "Callable[[pa.csv.InvalidRow], str] | None") -> pa.Table:
        # A handler only where one thread reads: only that can number rows, and a thread of a pool lets go of the
        # handler when it likes, which ends the process by SIGABRT where the interpreter is about to leave.
        return pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(use_threads=handler is None, encoding=_get_codec(spec.encoding)),
            parse_options=pa.csv.ParseOptions(
                delimiter=spec.delimiter, newlines_in_values=True, invalid_row_handler=handler
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(texts, pa.string()),
                null_values=spec.missing_tokens,
                strings_can_be_null=True,
            ),
        )

    try:
        return read(None)
    except (pa.ArrowException, ValueError):
        pass
    try:
        return read(record_row)
    except (pa.ArrowException, ValueError) as error:
        raise _build_row_error(path, spec, rows[0]) if rows else build_broken_csv_error(path, spec, error) from error


def refuse_bad_header(path: Path, spec: CsvSpec) -> None:
    """Raise EngineError for a header that parsers make different tables of, or make room for each column of.

    ``table_empty`` where it is missing or all that there is, ``csv_misplaced_mark``, ``too_many_columns``, and
    ``broken_csv`` where it does not end.
    """
    delimiter, mark = spec.delimiter.encode(), BYTE_ORDER_MARK.encode(spec.encoding)
    with path.open("rb") as file:
        begin, size = b"", HEADER_BYTES
        while True:
            begin += file.read(size - len(begin))
            data = begin.removeprefix(mark).lstrip(b"\r\n")  # empty lines before it
            end = find_record_end(data, delimiter)
            if end > 0 or len(begin) < size:
                break
            if size > MAX_RECORD_BYTES:
                raise build_broken_csv_error(
                    path, spec, ValueError(f"the header does not end within {MAX_RECORD_BYTES} bytes")
                )
            size = min(8 * size, MAX_RECORD_BYTES + 1)
    header = data[:end] if end > 0 else data  # all that there is
    if not header:
        raise build_empty_table_error(Message("The file is empty: it has no row."), path)
    if header.startswith(mark):
        raise build_misplaced_mark_error(path.name)
    if end <= 0:
        quotes = find_cell_quotes(header, delimiter)
        if quotes is not None and quotes.size % 2:
            raise build_broken_csv_error(path, spec, ValueError("a quoted cell of the header is not closed"))
        raise build_empty_table_error(Message("The table has a header but no rows."), path)
    refuse_many_columns(count_unquoted_delimiters(header, delimiter) + 1)


def _refuse_large_csv(path: Path, spec: CsvSpec) -> None:
    """Raise EngineError ``table_too_large`` where the whole table takes more than the run may, if its beginning tells.

    It counts twice: its columns are made contiguous. A beginning that cannot be read by itself tells nothing.
    """
    size = path.stat().st_size
    if 2 * CSV_EXPANSION * size + BASE_BYTES <= get_allowed_bytes():
        return
    with path.open("rb") as file:
        begin = file.read(_CHUNK_BYTES)
    begin = begin[: find_last_record_end(begin, spec.delimiter.encode())]
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(begin),
            read_options=pa.csv.ReadOptions(
                use_threads=False, block_size=2 * _CHUNK_BYTES, encoding=_get_codec(spec.encoding)
            ),
            parse_options=pa.csv.ParseOptions(delimiter=spec.delimiter, newlines_in_values=True),
        )
    except (pa.ArrowException, ValueError):
        return
    refuse_large_table(2 * size * table.nbytes // len(begin))


def check_encoding(path: Path, encoding: str) -> None:
    """Decode the whole file once: pyarrow would turn a column that it cannot decode into bytes without a word."""

    def make_fault(position: int, error: UnicodeDecodeError, encoding: str) -> CsvError:
        return CsvError(
            "csv_undecodable",
            "Byte {position} (line {line_of_byte}) is not valid {encoding}.",
            position=position,
            line_of_byte=_find_line_of_byte(path, position),
            encoding=encoding,
            field=ENCODING_FIELD,
            value=" ".join(f"{byte:02x}" for byte in error.object[error.start : error.start + 4]),
            limit=encoding,
            hint=N_("Choose the encoding that the file was written in: utf-8 or gb18030."),
        )

    deque(decode_chunks(read_chunks(path), encoding, make_fault), maxlen=0)


def _find_line_of_byte(path: Path, position: int) -> int:
    lines, left = 1, position
    for chunk in read_chunks(path):
        lines += chunk[:left].count(b"\n")
        left -= len(chunk)
        if left <= 0:
            break
    return lines


def _get_codec(encoding: str) -> str:
    return "utf8" if encoding == "utf-8" else encoding


def _build_row_error(path: Path, spec: CsvSpec, row: "pa.csv.InvalidRow") -> CsvError:
    lines = split_lines(decode_chunks(read_chunks(path), spec.encoding))
    return build_row_error_at_line(find_line(lines, spec.delimiter, row.number), spec, row)


def build_row_error_at_line(line: int, spec: CsvSpec, row: "pa.csv.InvalidRow") -> CsvError:
    """Build the error for a row, beginning on this line, with too many or too few cells."""
    return build_cell_count_error(
        line, row.actual_columns, row.expected_columns, spec.delimiter, numbering=LINE_NUMBERING, row=row.text[:200]
    )


def build_broken_csv_error(path: Path, spec: CsvSpec, error: Exception) -> EngineError:
    """Build the error for a CSV file that pyarrow cannot read."""
    return EngineError(
        "broken_csv",
        "The CSV file cannot be read: {first_line}",
        first_line=get_first_line(error),
        field=FIELD,
        value=path.name,
        hint=Message(
            "Check that the cells are parted by {delimiter!r} and quoted with double quotes.", delimiter=spec.delimiter
        ),
    )


def refuse_duplicate_names(names: Sequence[str]) -> None:
    """Raise EngineError ``duplicate_column`` for the first name that stands twice, ``too_many_columns``."""
    refuse_many_columns(len(names))
    previous: set[str] = set()
    for position, name in enumerate(names, start=1):
        if name in previous:
            raise EngineError(
                "duplicate_column",
                "The column name {name!r} occurs more than once, the second time as column {position}.",
                name=name,
                position=position,
                field=FIELD,
                value=name,
                limit="every column name once",
                hint=N_("Rename one of the columns in the header."),
            )
        previous.add(name)


def normalize_table(table: pa.Table) -> pa.Table:
    """Normalize missing values and layout: NaN becomes null, dictionaries are decoded, columns are one chunk."""
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        columns.append(column)
    return pa.table(columns, names=table.column_names).combine_chunks()


def normalize_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Convert the batch to the schema: dictionaries decoded, NaN missing, types cast where they differ."""
    arrays = []
    for column, field in zip(batch.columns, schema, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if column.type != field.type:
            column = column.cast(field.type, safe=False)
        if pa.types.is_floating(column.type):
            nan = pc.is_nan(column)
            if pc.any(nan).as_py():
                column = pc.if_else(nan, pa.scalar(None, column.type), column)
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def normalize_schema(schema: pa.Schema, *, nested: bool = False) -> pa.Schema:
    """The schema that `normalize_batch` leaves.

    Raises EngineError ``nested_column`` for lists, objects and maps, unless `nested` allows them.
    """
    fields = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(kind) and not nested:
            raise EngineError(
                "nested_column",
                "The column {each_name!r} holds {kind}: a table has one value in each cell.",
                each_name=field.name,
                kind=kind,
                field=FIELD,
                value=field.name,
                limit="numbers, texts, dates, times, true and false",
                hint=N_("Flatten it before, or leave it out of the file."),
            )
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def build_empty_table_error(message: str, path: Path) -> EngineError:
    return EngineError(
        "table_empty",
        message,
        field=FIELD,
        value=path.name,
        limit="at least one column and one row",
        hint=N_("Check that the export that made the file has finished."),
    )


def get_first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
