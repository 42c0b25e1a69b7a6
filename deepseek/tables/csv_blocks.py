"""A CSV file read in blocks of whole records, on both cores, with the types that the whole file gives.

pyarrow infers a column's type by trying, in a fixed order, the first that every cell can be read as. Each block is
parsed by itself with that inference; then the blocks' types are joined to the first type that all of them can be read
as, so that the table does not depend on how the file was cut. Blocks are cut where quotes are closed. Errors come in
the order of the file.
"""

from __future__ import annotations

import codecs
import io
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from deepseek.job import EngineError
from deepseek.tables.csv_quotes import count_line_ends, find_last_record_end, find_record_end
from deepseek.tables.csv_ranges import CsvRange, count_lines_before
from deepseek.tables.csv_records import find_line
from deepseek.tables.files import build_broken_csv_error, build_row_error_at_line, check_encoding
from deepseek.tables.memory_limits import MAX_RECORD_BYTES
from deepseek.tables.spec import CsvSpec

BLOCK_BYTES = 8 * 2**20
THREADS, MAX_PENDING_BLOCKS = 2, 4
TYPE_ORDER = [
    "null",
    "int64",
    "bool",
    "date32[day]",
    "time32[s]",
    "timestamp[s]",
    "timestamp[ns]",
    "timestamp[s,tz=UTC]",
    "timestamp[ns,tz=UTC]",
    "double",
    "string",
    "binary",
]
LOSSLESS_CASTS = {
    ("int64", "double"),
    ("date32[day]", "timestamp[s]"),
    ("date32[day]", "timestamp[ns]"),
    ("timestamp[s]", "timestamp[ns]"),
}
"""From and to: read again from the text or cast, the value is the same."""


@dataclass(frozen=True)
class CsvBlock:
    """Whole records as UTF-8; `line` is the one that they begin on, of the file, or of the range that is read."""

    data: bytes
    header: bytes
    line: int
    minus_zero: bool


class CsvBlocks:
    """The blocks of one file, or of a range of it. Raises EngineError as `read_table` does."""

    def __init__(self, path: Path, spec: CsvSpec, size: int = BLOCK_BYTES, part: CsvRange | None = None) -> None:
        """With `part`, in UTF-8, the blocks hold the records that begin in it; `end` is where the last of them ends."""
        self.path, self.spec, self.size, self.part = path, spec, size, part
        self.end = 0 if part is None else part.start

    def iter_blocks(self) -> Iterator[CsvBlock]:
        return self._cut_file() if self.part is None else self._cut_range(self.part)

    def _cut_file(self) -> Iterator[CsvBlock]:
        header, line, rest = b"", 1, b""
        for text, last in self._iter_utf8():
            rest += text
            if not header:
                trimmed = rest.lstrip(b"\r\n")
                end = find_record_end(trimmed, self._delimiter)
                if end < 0 and not last:
                    self._refuse_long(rest, line)
                    continue
                line += count_line_ends(rest[: len(rest) - len(trimmed)])
                end = len(trimmed) if end < 0 else end
                header, rest = trimmed[:end], trimmed[end:]
                line += count_line_ends(header)
            end = len(rest) if last else find_last_record_end(rest, self._delimiter)
            if end <= 0:
                self._refuse_long(rest, line)
                continue
            data, rest = rest[:end], rest[end:]
            yield self._build_block(data, header, line)
            line += count_line_ends(data)

    def find_header(self) -> tuple[bytes, int]:
        """The header with its line end, and how many bytes of UTF-8 it ends behind, the file's mark counted."""
        rest = b""
        for text, last in self._iter_utf8():
            rest += text
            trimmed = rest.lstrip(b"\r\n")
            end = find_record_end(trimmed, self._delimiter)
            if end > 0 or last:
                break
            self._refuse_long(rest, 1)
        header = trimmed[:end] if end > 0 else trimmed
        with self.path.open("rb") as file:
            mark = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        return header, mark + len(rest) - len(trimmed) + len(header)

    def _cut_range(self, part: CsvRange) -> Iterator[CsvBlock]:
        position, line, rest = part.start, 1, b""  # how far was read
        for text, last in self._iter_utf8(part.start, part.end):
            rest += text
            position += len(text)
            if last:
                end = len(rest)
            elif position < part.end:
                end = find_last_record_end(rest, self._delimiter)
            elif position == part.end:  # it follows a line end: no half of one can be left
                end = find_last_record_end(rest + b" ", self._delimiter)
            else:  # a cell goes on behind the range, so the record is this one's
                end = find_record_end(rest, self._delimiter)
            if end > 0:
                data, rest = rest[:end], rest[end:]
                yield self._build_block(data, part.header, line)
                line += count_line_ends(data)
                self.end = position - len(rest)
            else:
                self._refuse_long(rest, line)
            if self.end >= part.end:
                return

    def _build_block(self, data: bytes, header: bytes, line: int) -> CsvBlock:
        return CsvBlock(data, header if header.endswith((b"\n", b"\r")) else header + b"\n", line, b"-0" in data)

    def _refuse_long(self, rest: bytes, line: int) -> None:
        if len(rest) > MAX_RECORD_BYTES:
            why = f"no row ends within {MAX_RECORD_BYTES} bytes of line {self._locate_line(line)}"
            raise build_broken_csv_error(self.path, self.spec, ValueError(why))

    def _locate_line(self, line: int) -> int:
        """The number in the whole file of a line of what is read."""
        return line if self.part is None else line + count_lines_before(self.path, self.part.start)

    @property
    def _delimiter(self) -> bytes:
        return self.spec.delimiter.encode()

    def _iter_utf8(self, start: int = 0, stop: int = 0) -> Iterator[tuple[bytes, bool]]:
        """The file in UTF-8 without its mark, piece by piece, and whether it is the last; a piece ends at `stop`.

        Bytes that are wrong are an error once what precedes them was taken.
        """
        decoder = codecs.getincrementaldecoder(self.spec.encoding)()
        is_utf8 = self.spec.encoding == "utf-8"
        first = start == 0
        with self.path.open("rb") as file:
            file.seek(start)

            def read() -> bytes:
                left = stop - file.tell()
                return file.read(min(self.size, left) if left > 0 else self.size)

            chunk = read()
            while True:
                following = read() if chunk else b""
                wrong: UnicodeDecodeError | None = None
                try:
                    if is_utf8 and chunk.isascii() and not decoder.getstate()[0]:
                        text = chunk
                    else:
                        text = decoder.decode(chunk, final=not following).encode()
                except UnicodeDecodeError as error:
                    wrong, text = error, error.object[: error.start].decode(self.spec.encoding).encode()
                if first:
                    text, first = text.removeprefix("\ufeff".encode()), False
                yield text, not following and wrong is None
                if wrong is not None:
                    check_encoding(self.path, self.spec.encoding)
                    raise wrong
                if not following:
                    return
                chunk = following

    # -- parsing ------------------------------------------------------------------------------------------------------
    def read_names(self) -> list[str]:
        """The names of the columns; none where the header cannot be read by itself."""
        try:
            return list(self._parse(self._build_block(b"", self.find_header()[0], 1), None, None).column_names)
        except (pa.ArrowException, ValueError):
            return []

    def iter_tables(
        self,
        types: Mapping[str, pa.DataType] | None = None,
        columns: list[str] | None = None,
        *,
        threads: int = THREADS,
    ) -> Iterator[tuple[CsvBlock, pa.Table]]:
        """Each block as a table, in the order of the file, parsed on so many threads."""
        if threads < 2:
            for block in self.iter_blocks():
                try:
                    yield block, self._parse(block, types, columns)
                except (pa.ArrowException, ValueError) as error:
                    raise self._build_parse_error(block, error) from error
            return
        failure: EngineError | None = None
        blocks = self.iter_blocks()
        with ThreadPoolExecutor(threads) as pool:
            pending: deque[tuple[CsvBlock, Future[pa.Table]]] = deque()
            try:
                while failure is None:
                    try:
                        block = next(blocks)
                    except StopIteration:
                        break
                    except EngineError as error:  # what precedes it may be wrong too
                        failure = error
                        break
                    pending.append((block, pool.submit(self._parse, block, types, columns)))
                    if len(pending) >= MAX_PENDING_BLOCKS:
                        yield self._get_result(pending.popleft())
                while pending:
                    yield self._get_result(pending.popleft())
            finally:
                for _, future in pending:
                    future.cancel()
        if failure is not None:
            raise failure

    def _parse(
        self, block: CsvBlock, types: Mapping[str, pa.DataType] | None, columns: list[str] | None, handler: Any = None
    ) -> pa.Table:
        return pa.csv.read_csv(
            pa.BufferReader(block.header + block.data),
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=2 * len(block.data) + len(block.header) + 64),
            parse_options=pa.csv.ParseOptions(
                delimiter=self.spec.delimiter, newlines_in_values=True, invalid_row_handler=handler
            ),
            convert_options=pa.csv.ConvertOptions(
                null_values=self.spec.missing_tokens,
                strings_can_be_null=True,
                column_types=dict(types or {}),
                include_columns=columns or [],
            ),
        )

    def _get_result(self, submitted: tuple[CsvBlock, Future[pa.Table]]) -> tuple[CsvBlock, pa.Table]:
        block, future = submitted
        try:
            return block, future.result()
        except (pa.ArrowException, ValueError) as error:
            raise self._build_parse_error(block, error) from error

    def _build_parse_error(self, block: CsvBlock, error: Exception) -> EngineError:
        """What is wrong with a block; a row with too many or too few cells is named by its line."""
        invalid_rows: list[pa.csv.InvalidRow] = []

        def record_row(row: pa.csv.InvalidRow) -> str:
            invalid_rows.append(row)
            return "error"

        try:
            self._parse(block, None, None, record_row)
        except (pa.ArrowException, ValueError) as again:
            error = again
        if not invalid_rows:
            return build_broken_csv_error(self.path, self.spec, error)
        lines = io.StringIO(block.data.decode(errors="replace"), newline="")
        line = find_line(lines, self.spec.delimiter, invalid_rows[0].number - 1)
        return build_row_error_at_line(self._locate_line(block.line + line - 1), self.spec, invalid_rows[0])


# -- types ----------------------------------------------------------------------------------------------------------
def format_type(kind: pa.DataType) -> str:
    return str(kind).replace(", ", ",")


@dataclass
class BlockTypes:
    """The types that the blocks of a file were read as, by column. Those of its ranges merge."""

    names: dict[str, set[str]] = field(default_factory=dict)
    kinds: dict[str, pa.DataType] = field(default_factory=dict)
    minus_zero: bool = False

    def add(self, block: CsvBlock, schema: pa.Schema) -> None:
        self.minus_zero = self.minus_zero or block.minus_zero
        for column in schema:
            self.names.setdefault(column.name, set()).add(format_type(column.type))
            self.kinds[format_type(column.type)] = column.type

    def merge(self, other: BlockTypes) -> None:
        self.minus_zero = self.minus_zero or other.minus_zero
        for name, names in other.names.items():
            self.names.setdefault(name, set()).update(names)
        self.kinds |= other.kinds

    def join(self, can_read: CanRead) -> pa.Schema:
        """The type of each column: the first that all blocks can be read as."""
        types: dict[str, pa.DataType] = {}
        for name, names in self.names.items():
            candidates = sorted(names - {"null"}, key=TYPE_ORDER.index)
            if len(candidates) < 2:
                types[name] = self.kinds[candidates[0] if candidates else "null"]
            elif candidates[-1] in ("string", "binary") or all(
                (narrower, candidates[-1]) in LOSSLESS_CASTS for narrower in candidates[:-1]
            ):
                types[name] = self.kinds[candidates[-1]]
            else:
                types[name] = _find_readable_type(can_read, name, candidates[-1])
        return pa.schema(list(types.items()))

    def can_cast(self, schema: pa.Schema) -> bool:
        """Whether the blocks need not be parsed again to be of these types."""
        return all(
            _can_cast_blocks(names, schema.field(name).type, self.minus_zero) for name, names in self.names.items()
        )


CanRead = Callable[[str, pa.DataType], bool]
"""Whether every block's column of this name can be read as this type."""


def _find_readable_type(can_read: CanRead, name: str, least: str) -> pa.DataType:
    """The first type from `least` on that every block can be read as."""
    types_by_name = {
        "bool": pa.bool_(),
        "date32[day]": pa.date32(),
        "time32[s]": pa.time32("s"),
        "timestamp[s]": pa.timestamp("s"),
        "timestamp[ns]": pa.timestamp("ns"),
        "timestamp[s,tz=UTC]": pa.timestamp("s", "UTC"),
        "timestamp[ns,tz=UTC]": pa.timestamp("ns", "UTC"),
        "double": pa.float64(),
    }
    for kind in TYPE_ORDER[TYPE_ORDER.index(least) :]:
        if kind not in types_by_name:
            break
        if can_read(name, types_by_name[kind]):
            return types_by_name[kind]
    return pa.string()


def can_read_column(blocks: CsvBlocks, name: str, kind: pa.DataType, *, threads: int = THREADS) -> bool:
    """Whether this column of every block can be read as this type."""
    try:
        for _ in blocks.iter_tables({name: kind}, [name], threads=threads):
            pass
    except EngineError:
        return False
    return True


def _can_cast_blocks(type_names: set[str], kind: pa.DataType, minus_zero: bool) -> bool:
    """Whether blocks of these types need not be parsed again to be of this type."""
    other_types = type_names - {"null", format_type(kind)}
    if minus_zero and "int64" in other_types:
        return False  # -0 is 0 as an integer, and keeps its sign as a float
    return all((type_name, format_type(kind)) in LOSSLESS_CASTS for type_name in other_types)
