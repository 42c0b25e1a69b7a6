"""Open a CSV, Parquet, JSON lines or Arrow table of any size, detected by content, as re-readable batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from deepseek.job import EngineError
from deepseek.messages import N_, Message
from deepseek.tables.arrow_size import refuse_large_batches
from deepseek.tables.batches import Batches, TableBatches
from deepseek.tables.csv_blocks import BLOCK_BYTES, BlockTypes, CsvBlocks, can_read_column
from deepseek.tables.csv_detection import resolve_csv_spec
from deepseek.tables.files import (
    ROW_GROUP_ROWS,
    build_broken_parquet_error,
    build_empty_table_error,
    build_unreadable_input_error,
    get_first_line,
    normalize_batch,
    normalize_schema,
    open_native_file,
    read_table,
    refuse_bad_header,
    refuse_duplicate_names,
)
from deepseek.tables.json_lines import is_json, read_json_lines
from deepseek.tables.memory_limits import FIELD, refuse_large_table, refuse_many_columns, refuse_too_large
from deepseek.tables.parquet_size import ParquetSize, cut_batch, estimate_size, refuse_large_row_groups
from deepseek.tables.parts import list_parts
from deepseek.tables.redaction import REDACTED
from deepseek.tables.spec import CsvSpec
from deepseek.tables.streams import BATCH_ROWS, JoinedBatches, SpilledBatches, select_columns

MAX_BYTES_READ_AT_ONCE = 16 * 2**20
"""A text file up to this size is read at once."""
FORMAT_BYTES = 4096
"""Of the beginning of a file, which tell its format."""


@dataclass
class TableSource:
    """An open table: `nulls` counts the missing values of each column; `notes` are remarks on how it was read.

    `format` is csv, parquet, arrow or json; `csv`, of the first, how it was read, with nothing left to be found.
    """

    batches: Batches
    nulls: dict[str, int]
    notes: list[str] = field(default_factory=list)
    format: str = "parquet"
    csv: CsvSpec | None = None

    @property
    def rows(self) -> int:
        return self.batches.rows or 0


def open_table(
    path: Path,
    spec: CsvSpec,
    folder: Path | None,
    *,
    block: int = BLOCK_BYTES,
    small: int = MAX_BYTES_READ_AT_ONCE,
    slot: str = FIELD,
    nested: bool = False,
    hide: bool = False,
    rewrites: bool = False,
) -> TableSource:
    """Open the table at `path`; temporary data goes to `folder`. Columns are as `read_table` leaves them.

    A folder is a table of Parquet parts (parts.py): their rows in the order of the paths.

    `nested`: whether columns of lists and objects are taken as well, from Parquet and Arrow. `rewrites`: whether the
    table will be written again, so that its row groups must fit into memory.

    Raises EngineError as `read_table` does, and ``broken_json``, ``broken_arrow``, ``nested_column``,
    ``column_changes_type``, ``csv_encoding_unknown``; `slot` is the field of what is wrong with the file. `hide`: notes
    and errors show no cell, for the plan masks some, and both are kept and logged.
    """
    with label_errors(path, slot, hide=hide):
        if path.is_dir():
            return _open_parts(path, nested=nested, rewrites=rewrites)
        with path.open("rb") as file:
            begin = file.read(FORMAT_BYTES)
        return _open_by_format(path, begin, spec, folder, block, small, nested=nested, hide=hide, rewrites=rewrites)


@contextmanager
def label_errors(path: Path, slot: str, *, hide: bool) -> Iterator[None]:
    """Let errors of reading the file name the slot that it came in, and with `hide` no cell of it."""
    try:
        yield
    except OSError as error:
        raise build_unreadable_input_error(path, error) from error
    except EngineError as error:
        error.field = slot if error.field == FIELD else error.field
        error.value = REDACTED if hide and error.code in CODES_QUOTING_CELLS else error.value
        raise


def is_csv(begin: bytes) -> bool:
    """Whether a file with this beginning is read as CSV: whatever is no other format."""
    return not (begin[:4] == b"PAR1" or is_arrow(begin) or is_json(begin))


def is_arrow(begin: bytes) -> bool:
    return begin[:6] == b"ARROW1" or begin[:4] == b"\xff\xff\xff\xff"


def _open_by_format(
    path: Path,
    begin: bytes,
    spec: CsvSpec,
    folder: Path | None,
    block: int,
    small: int,
    *,
    nested: bool,
    hide: bool,
    rewrites: bool,
) -> TableSource:
    if not begin:
        raise build_empty_table_error(Message("The file is empty: it has no bytes."), path)
    if begin[:4] == b"PAR1":
        parquet = ParquetBatches(path, nested=nested)
        if rewrites:
            parquet.refuse_large_row_groups()
        return _check_batches(parquet, path, "parquet")
    if is_arrow(begin):
        return _check_batches(_open_arrow(path, begin[:6] == b"ARROW1", folder, nested), path, "arrow")
    if is_json(begin):
        return _check_batches(read_json_lines(path, folder, block), path, "json")
    csv_spec, notes = resolve_csv_spec(path, spec)
    if path.stat().st_size <= small:
        source = _read_at_once(path, csv_spec, folder, block)
    else:
        source = _open_csv(path, csv_spec, folder, block)
    source.notes, source.format, source.csv = notes + find_type_changes(source.batches, hide=hide), "csv", csv_spec
    return source


def read_whole_table(path: Path) -> pa.Table:
    """Read the whole table at `path`; CSV as `CsvSpec` reads it by default. Raises what `open_table` does."""
    if path.is_dir():
        parts = [ParquetBatches(part) for part in list_parts(path)]
        refuse_large_table(2 * sum(part.decoded_bytes for part in parts))  # its columns are made contiguous
        batches = _check_batches(JoinedBatches(parts), path, "parquet").batches
        return pa.Table.from_batches(batches, batches.schema).combine_chunks()
    try:
        with path.open("rb") as file:
            begin = file.read(FORMAT_BYTES)
    except OSError as error:
        raise build_unreadable_input_error(path, error) from error
    if is_arrow(begin) or is_json(begin):
        batches = open_table(path, CsvSpec(), None).batches
        return pa.Table.from_batches(batches, batches.schema).combine_chunks()
    return read_table(path, CsvSpec())


def build_source(table: pa.Table) -> TableSource:
    """Wrap a table in memory as a TableSource."""
    return TableSource(TableBatches(table), {name: table.column(name).null_count for name in table.column_names})


# -- CSV ------------------------------------------------------------------------------------------------------------
def _open_csv(path: Path, spec: CsvSpec, folder: Path | None, block: int) -> TableSource:
    refuse_bad_header(path, spec)
    blocks = CsvBlocks(path, spec, block)
    refuse_duplicate_names(blocks.read_names())
    parts: list[SpilledBatches] = []  # one after another, each of the types of its blocks
    types = BlockTypes()
    for piece, table in blocks.iter_tables():
        types.add(piece, table.schema)
        _append_table(parts, table, folder)
    if not types.names:
        raise build_empty_table_error(Message("The table has a header but no rows."), path)
    schema = types.join(partial(can_read_column, blocks))
    if not types.can_cast(schema):
        parts = []
        for _, table in blocks.iter_tables(dict(zip(schema.names, schema.types, strict=True))):
            _append_table(parts, table, folder)
    source = _ChainedBatches([part.finish() for part in parts], schema)
    if not source.rows:
        raise build_empty_table_error(Message("The table has a header but no rows."), path)
    return TableSource(source, source.count_nulls())


def _read_at_once(path: Path, spec: CsvSpec, folder: Path | None, block: int) -> TableSource:
    """Read a small file whole. Of several faults it names the first in the order of the file, as of a large one."""
    try:
        return build_source(read_table(path, spec))
    except EngineError as error:
        if error.code in CODES_OF_ROWS:
            _open_csv(path, spec, folder, block)  # raises the first
        raise


def _append_table(parts: list[SpilledBatches], table: pa.Table, folder: Path | None) -> None:
    if not parts or parts[-1].schema != table.schema:
        if parts:
            parts[-1].finish()
        parts.append(SpilledBatches(table.schema, folder))
    for batch in table.combine_chunks().to_batches():
        parts[-1].add(batch)


class _ChainedBatches:
    """Tables one after another, under one schema that each can be cast to; NaN is missing."""

    def __init__(self, parts: Sequence[SpilledBatches], schema: pa.Schema) -> None:
        self.parts, self.schema = parts, schema
        self.rows: int | None = sum(part.rows or 0 for part in parts)

    def select_columns(self, names: Sequence[str]) -> Batches:
        schema = pa.schema([self.schema.field(name) for name in names])
        chain = _ChainedBatches.__new__(_ChainedBatches)
        chain.parts, chain.schema, chain.rows = self.parts, schema, self.rows
        return chain

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for part in self.parts:
            for batch in part.read(self.schema.names):
                yield normalize_batch(batch, self.schema)

    def count_nulls(self) -> dict[str, int]:
        counted = dict.fromkeys(self.schema.names, 0)
        for batch in self:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                counted[name] += column.null_count
        return counted


def find_type_changes(batches: Batches, *, hide: bool) -> list[str]:
    """List a note on each text column that begins with numbers and then holds something else: which row, which cell.

    In the order of the rows.
    """
    texts = [each.name for each in batches.schema if pa.types.is_string(each.type)]
    notes: list[tuple[int, str, str]] = []
    open_, counted, row = set(texts), dict.fromkeys(texts, 0), 0
    for batch in select_columns(batches, texts) if texts else ():
        for name in sorted(open_):
            column = batch.column(name)
            number = pc.fill_null(pc.match_substring_regex(column, NUMBER_PATTERN), True).to_numpy(zero_copy_only=False)
            if number.all():
                counted[name] += len(column) - column.null_count
                continue
            at = int(number.argmin())
            counted[name] += at - column.slice(0, at).null_count
            open_.discard(name)
            if counted[name] >= MIN_NUMBERS_BEFORE_TEXT:
                number_of, cell = row + at + 1, REDACTED if hide else column[at].as_py()[:40]
                text = Message(
                    "Column {name!r} holds numbers until row {number_of}, which holds {cell!r}: it was read "
                    "as text. Correct that row, or name the text as a missing token.",
                    name=name,
                    number_of=number_of,
                    cell=cell,
                )
                notes.append((number_of, name, text))
        row += batch.num_rows
        if not open_:
            break
    return [text for _, _, text in sorted(notes, key=lambda note: note[:2])]


NUMBER_PATTERN = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
CODES_QUOTING_CELLS = {"csv_broken_row", "broken_json", "column_changes_type", "csv_undecodable"}
"""Errors that quote a row, a cell, or bytes of one, of the file."""
CODES_OF_ROWS = {"csv_broken_row", "csv_undecodable", "broken_csv"}
"""Errors that reading a file whole raises for what may stand behind another fault, of the header or of a row."""
MIN_NUMBERS_BEFORE_TEXT = 3
"""Numbers at the beginning of a text column from which its first other text is worth a word."""


# -- Parquet, Arrow -------------------------------------------------------------------------------------------------
class ParquetBatches:
    """A Parquet file as re-readable batches, each cut to a bounded decoded size.

    Raises EngineError ``table_too_large`` where that is impossible, before a row is read.
    """

    def __init__(
        self, path: Path, names: Sequence[str] | None = None, *, nested: bool = False, size: ParquetSize | None = None
    ) -> None:
        self.path, self._nested = path, nested
        try:
            with open_native_file(path) as file:
                parquet = pq.ParquetFile(file)
                file_schema = parquet.schema_arrow
                self.rows: int | None = parquet.metadata.num_rows
                refuse_duplicate_names(file_schema.names)
                self._size = estimate_size(file, BATCH_ROWS) if size is None else size
        except (pa.ArrowException, OSError, ValueError) as error:
            raise build_broken_parquet_error(path, error) from error
        full_schema = normalize_schema(file_schema, nested=nested)
        refuse_too_large(
            self._size.working_bytes, Message("Ask for so much memory, or give it shorter texts in each row.")
        )
        self.schema: pa.Schema = (
            full_schema if names is None else pa.schema([full_schema.field(name) for name in names])
        )

    def select_columns(self, names: Sequence[str]) -> Batches:
        return ParquetBatches(self.path, names, nested=self._nested, size=self._size)

    @property
    def decoded_bytes(self) -> int:
        """An upper bound of what its rows take in memory."""
        return self._size.decoded_bytes

    def refuse_large_row_groups(self) -> None:
        """Raise EngineError ``table_too_large`` where the table cannot be written again."""
        try:
            with open_native_file(self.path) as file:
                refuse_large_row_groups(file, self._size, ROW_GROUP_ROWS)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise build_broken_parquet_error(self.path, error) from error

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            with open_native_file(self.path) as file:
                parquet = pq.ParquetFile(file, pre_buffer=False)  # or it keeps all that it has read
                for batch in parquet.iter_batches(batch_size=self._size.batch_rows, columns=self.schema.names):
                    batch.validate(full=True)
                    yield normalize_batch(batch.select(self.schema.names), self.schema)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise build_broken_parquet_error(self.path, error) from error


def _open_parts(folder: Path, *, nested: bool, rewrites: bool) -> TableSource:
    parts = [ParquetBatches(part, nested=nested) for part in list_parts(folder)]
    if rewrites:
        for part in parts:
            part.refuse_large_row_groups()
    return _check_batches(JoinedBatches(parts), folder, "parquet")


def _check_batches(batches: Batches, path: Path, format: str) -> TableSource:
    """The table, read once: everything in it is valid, and its missing values are counted."""
    refuse_many_columns(len(batches.schema.names))
    nulls, rows = dict.fromkeys(batches.schema.names, 0), 0
    if not batches.schema.names:
        raise build_empty_table_error(Message("The table has no columns."), path)
    for batch in batches:
        rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            nulls[name] += column.null_count
    if not rows:
        raise build_empty_table_error(Message("The table has a header but no rows."), path)
    return TableSource(batches, nulls, format=format)


def _open_arrow(path: Path, is_file: bool, folder: Path | None, nested: bool) -> SpilledBatches:
    """An Arrow file or stream, kept batch by batch, cut to a bearable length."""
    refuse_large_batches(path, is_file)
    try:
        with pa.OSFile(str(path)) as file:
            reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
            refuse_duplicate_names(reader.schema.names)
            schema = normalize_schema(reader.schema, nested=nested)
            spilled = SpilledBatches(schema, folder)
            for batch in _iter_arrow_batches(reader, is_file):
                batch.validate(full=True)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    for part in cut_batch(batch.slice(start, BATCH_ROWS)):
                        spilled.add(normalize_batch(part, schema))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise EngineError(
            "broken_arrow",
            "The Arrow file cannot be read: {first_line}",
            first_line=get_first_line(error),
            field=FIELD,
            value=path.name,
            hint=N_("The file may be cut short; copy it again and compare its SHA-256."),
        ) from error
    return spilled.finish()


def _iter_arrow_batches(reader: pa.ipc.RecordBatchFileReader, is_file: bool) -> Iterable[pa.RecordBatch]:
    if is_file:
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return (batch for batch in reader)
