"""Rows of CSV files and JSON lines, in blocks of whole records; all cells are text, null where one is missing.

A file of text has no index. So a place to read on from names the block that it lies in: its file, byte and first row.
"""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.csv_quotes import find_last_record_end, find_record_end
from deepseek.tables.memory_limits import MAX_RECORD_BYTES
from deepseek.tables.rows.blocks import Block
from deepseek.tables.rows.predicates import Selection
from deepseek.tables.rows.query import FileSource

BLOCK_BYTES = 2 << 20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Place:
    """A block: number of its first row in the table, its file, and the byte at which it begins there."""

    row: int
    file: int
    byte: int


def parse_place(text: str) -> tuple[int, Place]:
    """The row and its block from ROW-FIRST-FILE-BYTE, or from a number of rows to skip from the beginning."""
    try:
        row, *block = [int(part) for part in text.split("-")] if text else [0]
        if block and (len(block) != 3 or min(row, *block) < 0):
            raise ValueError(text)
    except ValueError:
        raise EngineError(
            "bad_place",
            "{text!r} is no place in the table.",
            text=text[:60],
            field="after",
            value=text[:60],
            limit="a number of rows, or `next` of the page before",
            hint=N_("Begin with the first rows."),
        ) from None
    return row, Place(*block) if block else Place(0, 0, 0)


class TextRows:
    """Files of text one after another."""

    total: int | None = None

    def __init__(
        self, files: Sequence[IO[bytes]], sources: Sequence[FileSource], names: Sequence[str], after: str
    ) -> None:
        self.files, self.sources = files, sources
        self.start, self.begin = parse_place(after)
        self.begin = self.begin if self.begin.file < len(files) else Place(0, 0, 0)
        self.places: list[Place] = []
        self.headers: dict[int, tuple[list[str], int]] = {}
        self.names = self._read_header(0)[0] if sources[0].format == "csv" else list(names)
        self.schema = pa.schema([(name, pa.string()) for name in self.names])

    def iter_blocks(self, columns: Sequence[str], selection: Selection, start: int) -> Iterator[Block]:
        self.places = []
        row = self.begin.row
        for number in range(self.begin.file, len(self.files)):
            byte = self.begin.byte if number == self.begin.file else 0
            for place, batch in self._iter_file(number, byte, row):
                row = place.row + batch.num_rows
                self.places.append(place)
                if row > start:
                    skip = max(0, start - place.row)
                    yield Block(place.row + skip, batch.slice(skip).select(list(columns)))
        self.total = row

    def read_rows(self, numbers: Sequence[int], columns: Sequence[str]) -> pa.Table:
        firsts = [place.row for place in self.places]
        by_block: dict[int, list[int]] = {}
        for number in numbers:
            by_block.setdefault(bisect_right(firsts, number) - 1, []).append(number)
        parts = []
        for index, rows in by_block.items():
            place = self.places[index]
            _, batch = next(self._iter_file(place.file, place.byte, place.row))
            parts.append(batch.select(list(columns)).take(pa.array([row - place.row for row in rows])))
        return pa.Table.from_batches(parts, pa.schema([(name, pa.string()) for name in columns]))

    def format_place(self, row: int) -> str:
        index = bisect_right([place.row for place in self.places], row) - 1
        if index < 0:
            return str(row)
        place = self.places[index]
        return f"{row}-{place.row}-{place.file}-{place.byte}"

    def _iter_file(self, number: int, byte: int, row: int) -> Iterator[tuple[Place, pa.RecordBatch]]:
        """The blocks of one file from `byte` on, where a record begins; 0 is the header."""
        source, file = self.sources[number], self.files[number]
        names, behind = self._read_header(number) if source.format == "csv" else (self.names, 0)
        byte = max(byte, behind)
        size = BLOCK_BYTES
        while byte < source.size:
            file.seek(byte)
            data = file.read(min(size, source.size - byte))
            end = len(data) if byte + len(data) >= source.size else self._find_end(data, source)
            if end <= 0:
                if size >= MAX_RECORD_BYTES:
                    raise build_long_record_error(byte)
                size *= 2
                continue
            batch = self._parse(data[:end], names, source)
            if batch.num_rows:
                yield Place(row, number, byte), batch
            row, byte, size = row + batch.num_rows, byte + end, BLOCK_BYTES

    def _find_end(self, data: bytes, source: FileSource) -> int:
        if source.format == "json":
            return data.rfind(b"\n") + 1
        return find_last_record_end(data, source.delimiter.encode())

    def _read_header(self, number: int) -> tuple[list[str], int]:
        """Names of the columns of a CSV file, and the byte behind them."""
        if number not in self.headers:
            source, file = self.sources[number], self.files[number]
            size = 1 << 16
            while True:
                file.seek(0)
                data = file.read(min(size, source.size))
                begin = len(BOM) if data.startswith(BOM) else 0
                begin += len(data[begin:]) - len(data[begin:].lstrip(b"\r\n"))
                end = find_record_end(data[begin:], source.delimiter.encode())
                if end > 0 or size >= source.size:
                    break
                if size >= MAX_RECORD_BYTES:
                    raise build_long_record_error(0)
                size *= 8
            end = begin + end if end > 0 else len(data)
            table = self._read_csv(data[begin:end], None, source)
            self.headers[number] = table.column_names, end
        return self.headers[number]

    def _parse(self, data: bytes, names: Sequence[str], source: FileSource) -> pa.RecordBatch:
        if source.format == "json":
            return parse_json_lines(data, names)
        if not data.strip(b"\r\n"):
            return pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in names]))
        table = self._read_csv(data, names, source).rename_columns(self.names)
        return table.combine_chunks().to_batches()[0] if table.num_rows else table.to_batches(max_chunksize=1)[0]

    def _read_csv(self, data: bytes, names: Sequence[str] | None, source: FileSource) -> pa.Table:
        if source.encoding != "utf-8":
            data = data.decode(source.encoding, "replace").encode()
        return pa.csv.read_csv(
            io.BytesIO(data),
            read_options=pa.csv.ReadOptions(
                use_threads=False, column_names=list(names) if names else None, block_size=max(1 << 20, 2 * len(data))
            ),
            parse_options=pa.csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names or (), pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )


def parse_json_lines(data: bytes, names: Sequence[str]) -> pa.RecordBatch:
    """A batch of the objects in these lines; what is no text is written as JSON."""
    records = [json.loads(line) for line in data.splitlines() if line.strip()]
    columns = [
        pa.array(
            [format_json(record.get(name)) if isinstance(record, dict) else None for record in records], pa.string()
        )
        for name in names
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def format_json(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def build_long_record_error(byte: int) -> EngineError:
    return EngineError(
        "row_too_long",
        "The row that begins at byte {byte:,} is longer than {limit_bytes:,} bytes.",
        byte=byte,
        limit_bytes=MAX_RECORD_BYTES,
        field="file",
        limit=str(MAX_RECORD_BYTES),
        hint=N_("Download the file."),
    )
