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
from deepseek.tables.csv_quotes import count_line_ends, last_record_end, record_end
from deepseek.tables.csv_records import find_line
from deepseek.tables.files import broken_csv, broken_row_at, check_encoding
from deepseek.tables.memory_limits import MAX_RECORD_BYTES
from deepseek.tables.spec import CsvSpec

BLOCK_BYTES = 8 * 2**20
THREADS, WAITING = 2, 4
ORDER = [
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
EASY = {
    ("int64", "double"),
    ("date32[day]", "timestamp[s]"),
    ("date32[day]", "timestamp[ns]"),
    ("timestamp[s]", "timestamp[ns]"),
}
"""From and to: read again from the text or cast, the value is the same."""


@dataclass(frozen=True)
class Block:
    """Whole records as UTF-8; `rows` and `lines` of the file lie before them, the header not counted among the rows."""

    data: bytes
    header: bytes
    line: int
    minus_zero: bool


class CsvBlocks:
    """The blocks of one file. Raises EngineError as `read_table` does."""

    def __init__(self, path: Path, spec: CsvSpec, size: int = BLOCK_BYTES) -> None:
        self.path, self.spec, self.size = path, spec, size

    def blocks(self) -> Iterator[Block]:
        header, line, rest = b"", 1, b""
        for text, last in self._texts():
            rest += text
            if not header:
                trimmed = rest.lstrip(b"\r\n")
                end = record_end(trimmed, self._delimiter)
                if end < 0 and not last:
                    self._refuse_long(rest, line)
                    continue
                line += count_line_ends(rest[: len(rest) - len(trimmed)])
                end = len(trimmed) if end < 0 else end
                header, rest = trimmed[:end], trimmed[end:]
                line += count_line_ends(header)
            end = len(rest) if last else last_record_end(rest, self._delimiter)
            if end <= 0:
                self._refuse_long(rest, line)
                continue
            data, rest = rest[:end], rest[end:]
            head = header if header.endswith((b"\n", b"\r")) else header + b"\n"
            yield Block(data, head, line, b"-0" in data)
            line += count_line_ends(data)

    def _refuse_long(self, rest: bytes, line: int) -> None:
        if len(rest) > MAX_RECORD_BYTES:
            why = f"no row ends within {MAX_RECORD_BYTES} bytes of line {line}"
            raise broken_csv(self.path, self.spec, ValueError(why))

    @property
    def _delimiter(self) -> bytes:
        return self.spec.delimiter.encode()

    def _texts(self) -> Iterator[tuple[bytes, bool]]:
        """The file in UTF-8 without its mark, piece by piece, and whether it is the last."""
        decoder = codecs.getincrementaldecoder(self.spec.encoding)()
        plain = self.spec.encoding == "utf-8"
        first = True
        with self.path.open("rb") as file:
            chunk = file.read(self.size)
            while True:
                following = file.read(self.size) if chunk else b""
                try:
                    if plain and chunk.isascii() and not decoder.getstate()[0]:
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
    def tables(
        self, types: Mapping[str, pa.DataType] | None = None, only: list[str] | None = None
    ) -> Iterator[tuple[Block, pa.Table]]:
        """Each block as a table, in the order of the file, parsed on two threads."""
        rows = 0
        with ThreadPoolExecutor(THREADS) as pool:
            waiting: deque[tuple[Block, Future[pa.Table]]] = deque()
            try:
                for block in self.blocks():
                    waiting.append((block, pool.submit(self._parse, block, types, only)))
                    if len(waiting) >= WAITING:
                        made = self._result(waiting.popleft(), rows)
                        rows += made[1].num_rows
                        yield made
                while waiting:
                    made = self._result(waiting.popleft(), rows)
                    rows += made[1].num_rows
                    yield made
            finally:
                for _, future in waiting:
                    future.cancel()

    def _parse(
        self, block: Block, types: Mapping[str, pa.DataType] | None, only: list[str] | None, handler: Any = None
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
                include_columns=only or [],
            ),
        )

    def _result(self, made: tuple[Block, Future[pa.Table]], rows: int) -> tuple[Block, pa.Table]:
        block, future = made
        try:
            return block, future.result()
        except (pa.ArrowException, ValueError) as error:
            raise self._fault(block, error) from error

    def _fault(self, block: Block, error: Exception) -> EngineError:
        """What is wrong with a block; a row with too many or too few cells is named by its line."""
        bad: list[pa.csv.InvalidRow] = []

        def note(row: pa.csv.InvalidRow) -> str:
            bad.append(row)
            return "error"

        try:
            self._parse(block, None, None, note)
        except (pa.ArrowException, ValueError) as again:
            error = again
        if not bad:
            return broken_csv(self.path, self.spec, error)
        lines = io.StringIO(block.data.decode(errors="replace"), newline="")
        line = find_line(lines, self.spec.delimiter, bad[0].number - 1)
        return broken_row_at(block.line + line - 1, self.spec, bad[0])


# -- types ----------------------------------------------------------------------------------------------------------
def short(kind: pa.DataType) -> str:
    return str(kind).replace(", ", ",")


def joined_types(
    blocks: CsvBlocks, seen: Mapping[str, set[str]], kinds: Mapping[str, pa.DataType]
) -> dict[str, pa.DataType]:
    """The type of each column, of the types that its blocks were read as."""
    found: dict[str, pa.DataType] = {}
    for name, names in seen.items():
        several = sorted(names - {"null"}, key=ORDER.index)
        if len(several) < 2:
            found[name] = kinds[several[0] if several else "null"]
        elif several[-1] in ("string", "binary") or all((one, several[-1]) in EASY for one in several[:-1]):
            found[name] = kinds[several[-1]]
        else:
            found[name] = _tried(blocks, name, several[-1])
    return found


def _tried(blocks: CsvBlocks, name: str, least: str) -> pa.DataType:
    """The first type from `least` on that every block can be read as."""
    known = {
        "bool": pa.bool_(),
        "date32[day]": pa.date32(),
        "time32[s]": pa.time32("s"),
        "timestamp[s]": pa.timestamp("s"),
        "timestamp[ns]": pa.timestamp("ns"),
        "timestamp[s,tz=UTC]": pa.timestamp("s", "UTC"),
        "timestamp[ns,tz=UTC]": pa.timestamp("ns", "UTC"),
        "double": pa.float64(),
    }
    for kind in ORDER[ORDER.index(least) :]:
        if kind not in known:
            break
        try:
            for _ in blocks.tables({name: known[kind]}, [name]):
                pass
            return known[kind]
        except EngineError:
            continue
    return pa.string()


def castable(seen: set[str], kind: pa.DataType, minus_zero: bool) -> bool:
    """Whether blocks of these types need not be parsed again to be of this type."""
    others = seen - {"null", short(kind)}
    if minus_zero and "int64" in others:
        return False  # -0 is 0 as an integer, and keeps its sign as a float
    return all((one, short(kind)) in EASY for one in others)
