"""A CSV file read in blocks of whole records, on both cores, with the types that the whole file gives.

pyarrow infers a column's type by trying, in a fixed order, the first that every cell can be read as. Each block is
parsed by itself with that inference; then the blocks' types are joined to the first type that all of them can be read
as, so that the table does not depend on how the file was cut. Blocks are cut where quotes are closed.
"""

from __future__ import annotations

import codecs
import io
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from deepseek.job import EngineError
from deepseek.tables.csv_quotes import count_line_ends, find_last_record_end, find_record_end
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
    """Whole records as UTF-8; `rows` and `lines` of the file lie before them, the header not counted among the rows."""

    data: bytes
    header: bytes
    line: int
    minus_zero: bool


class CsvBlocks:
    """The blocks of one file. Raises EngineError as `read_table` does."""

    def __init__(self, path: Path, spec: CsvSpec, size: int = BLOCK_BYTES) -> None:
        self.path, self.spec, self.size = path, spec, size

    def iter_blocks(self) -> Iterator[CsvBlock]:
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
            head = header if header.endswith((b"\n", b"\r")) else header + b"\n"
            yield CsvBlock(data, head, line, b"-0" in data)
            line += count_line_ends(data)

    def _refuse_long(self, rest: bytes, line: int) -> None:
        if len(rest) > MAX_RECORD_BYTES:
            why = f"no row ends within {MAX_RECORD_BYTES} bytes of line {line}"
            raise build_broken_csv_error(self.path, self.spec, ValueError(why))

    @property
    def _delimiter(self) -> bytes:
        return self.spec.delimiter.encode()

    def _iter_utf8(self) -> Iterator[tuple[bytes, bool]]:
        """The file in UTF-8 without its mark, piece by piece, and whether it is the last."""
        decoder = codecs.getincrementaldecoder(self.spec.encoding)()
        is_utf8 = self.spec.encoding == "utf-8"
        first = True
        with self.path.open("rb") as file:
            chunk = file.read(self.size)
            while True:
                following = file.read(self.size) if chunk else b""
                try:
                    if is_utf8 and chunk.isascii() and not decoder.getstate()[0]:
                        text = chunk
                    else:
                        text = decoder.decode(chunk, final=not following).encode()
                except UnicodeDecodeError:
                    check_encoding(self.path, self.spec.encoding)
                    raise
                if first:
                    text, first = text.removeprefix("\ufeff".encode()), False
                yield text, not following
                if not following:
                    return
                chunk = following

    # -- parsing ------------------------------------------------------------------------------------------------------
    def iter_tables(
        self, types: Mapping[str, pa.DataType] | None = None, columns: list[str] | None = None
    ) -> Iterator[tuple[CsvBlock, pa.Table]]:
        """Each block as a table, in the order of the file, parsed on two threads."""
        rows = 0
        with ThreadPoolExecutor(THREADS) as pool:
            pending: deque[tuple[CsvBlock, Future[pa.Table]]] = deque()
            try:
                for block in self.iter_blocks():
                    pending.append((block, pool.submit(self._parse, block, types, columns)))
                    if len(pending) >= MAX_PENDING_BLOCKS:
                        result = self._get_result(pending.popleft(), rows)
                        rows += result[1].num_rows
                        yield result
                while pending:
                    result = self._get_result(pending.popleft(), rows)
                    rows += result[1].num_rows
                    yield result
            finally:
                for _, future in pending:
                    future.cancel()

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

    def _get_result(self, submitted: tuple[CsvBlock, Future[pa.Table]], rows: int) -> tuple[CsvBlock, pa.Table]:
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
        return build_row_error_at_line(block.line + line - 1, self.spec, invalid_rows[0])


# -- types ----------------------------------------------------------------------------------------------------------
def format_type(kind: pa.DataType) -> str:
    return str(kind).replace(", ", ",")


def join_block_types(
    blocks: CsvBlocks, type_names: Mapping[str, set[str]], kinds: Mapping[str, pa.DataType]
) -> dict[str, pa.DataType]:
    """The type of each column, of the types that its blocks were read as."""
    types: dict[str, pa.DataType] = {}
    for name, names in type_names.items():
        candidates = sorted(names - {"null"}, key=TYPE_ORDER.index)
        if len(candidates) < 2:
            types[name] = kinds[candidates[0] if candidates else "null"]
        elif candidates[-1] in ("string", "binary") or all(
            (narrower, candidates[-1]) in LOSSLESS_CASTS for narrower in candidates[:-1]
        ):
            types[name] = kinds[candidates[-1]]
        else:
            types[name] = _find_readable_type(blocks, name, candidates[-1])
    return types


def _find_readable_type(blocks: CsvBlocks, name: str, least: str) -> pa.DataType:
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
        try:
            for _ in blocks.iter_tables({name: types_by_name[kind]}, [name]):
                pass
            return types_by_name[kind]
        except EngineError:
            continue
    return pa.string()


def can_cast_blocks(type_names: set[str], kind: pa.DataType, minus_zero: bool) -> bool:
    """Whether blocks of these types need not be parsed again to be of this type."""
    other_types = type_names - {"null", format_type(kind)}
    if minus_zero and "int64" in other_types:
        return False  # -0 is 0 as an integer, and keeps its sign as a float
    return all((type_name, format_type(kind)) in LOSSLESS_CASTS for type_name in other_types)
