"""Inspect a CSV file in one streaming pass, and report faults by row and byte.

Standard library only: bytes in, facts out. Memory is bounded by one chunk, LINE_LIMIT and RECORD_LIMIT, whatever the
size of the file. Rows are records: the header is row 1, blank lines do not count, a quoted cell may span lines.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepseek.messages import Message
from deepseek.tables.csv_dialect import CsvDialect, refuse_nul
from deepseek.tables.csv_dtypes import ColumnTypeGuess
from deepseek.tables.csv_faults import (
    BYTE_ORDER_MARK,
    CsvError,
    build_cell_count_error,
    build_csv_error,
    build_misplaced_mark_error,
    build_undecodable_error,
)

CELL_LIMIT = 131_072  # characters: the csv module's own default, left alone because it is global to the process
LINE_LIMIT = 16 * 2**20  # characters
RECORD_LIMIT = 32 * 2**20  # characters: quoted cells may make one record of many lines
DELIMITER_LIMIT = 1_000_000  # in one record, quoted or not: the csv module makes its cells before anybody counts them
COLUMN_LIMIT = 10_000
NAME_LIMIT = 500
SAMPLE_CELLS = 1_000_000  # from which dtypes are guessed; every row is checked for its shape
READ_BYTES = 1 << 20  # at a time
CHECK_EXPORT_HINT = Message("Check that the export that made the file has finished.")


@dataclass(frozen=True, slots=True)
class CsvInspection:
    """`columns` as a version keeps them: [{"name", "dtype"}], the dtype guessed from the first rows."""

    rows: int
    columns: list[dict[str, str]]


def inspect_csv(chunks: Iterable[bytes], *, delimiter: str = ",", encoding: str = "utf-8") -> CsvInspection:
    """Count the rows and guess the columns of a whole CSV file.

    Raises CsvError, naming row or byte, limit and way out, with one of the codes csv_empty, csv_no_rows,
    csv_broken_row, csv_empty_column, csv_duplicate_column, csv_too_many_columns, csv_name_too_long, csv_undecodable,
    csv_nul_byte, csv_cell_too_long, csv_line_too_long, csv_broken_quote, csv_misplaced_mark.
    """
    texts = decode_chunks(refuse_nul(chunks, encoding), encoding)
    records = read_records(split_lines(texts), delimiter)
    names = next(records, (0, []))[1]
    if not names:
        raise build_csv_error(
            "csv_empty",
            Message("The file is empty: it has no row."),
            "a header and at least one row",
            CHECK_EXPORT_HINT,
        )
    if names[0].startswith(BYTE_ORDER_MARK):
        raise build_misplaced_mark_error()
    check_header(names, delimiter)
    guesses = [ColumnTypeGuess() for _ in names]
    rows = 0
    for number, cells in records:
        if len(cells) != len(names):
            raise build_cell_count_error(number, len(cells), len(names), delimiter)
        if rows * len(names) < SAMPLE_CELLS:
            for guess, cell in zip(guesses, cells, strict=True):
                guess.add_cell(cell)
        rows += 1
    if rows == 0:
        raise build_csv_error(
            "csv_no_rows",
            Message("The file has a header but no rows."),
            "at least one row below the header",
            CHECK_EXPORT_HINT,
        )
    return CsvInspection(
        rows, [{"name": name, "dtype": guess.dtype} for name, guess in zip(names, guesses, strict=True)]
    )


def decode_chunks(
    chunks: Iterable[bytes],
    encoding: str,
    make_fault: Callable[[int, UnicodeDecodeError, str], CsvError] = build_undecodable_error,
) -> Iterator[str]:
    """The text of the chunks without a byte order mark; raises the fault of the first byte that does not decode."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, began = 0, False
    for chunk in append_empty_chunk(chunks):
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            # `object` holds what the decoder had kept of earlier chunks, then this one.
            raise make_fault(offset + len(chunk) - len(error.object) + error.start, error, encoding) from None
        offset += len(chunk)
        if text and not began:
            text, began = text.removeprefix(BYTE_ORDER_MARK), True
        yield text


def append_empty_chunk(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks that hold something, then one empty one: it tells the decoder that no more comes."""
    yield from (chunk for chunk in chunks if chunk)
    yield b""


def read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


def split_lines(texts: Iterable[str]) -> Iterator[str]:
    r"""Lines that end in \n, \r\n or \r, and in nothing else: str.splitlines also parts at form feeds and U+2028."""
    rest: list[str] = []  # pieces of a line that may go on: put together once, or a long one would be copied each time
    size = 0
    for text in filter(None, texts):
        if rest and rest[-1].endswith("\r"):  # which may be half of \r\n
            if text.startswith("\n"):
                rest.append("\n")
                text = text[1:]
            yield "".join(rest)
            rest, size = [], 0
        parts = list(io.StringIO(text, newline=""))
        if (rest and len(parts) > 1) or (parts and parts[0].endswith("\n")):
            yield "".join([*rest, parts.pop(0)])
            rest, size = [], 0
        if parts and not parts[-1].endswith("\n"):
            last = parts.pop()
            rest.append(last)
            size += len(last)
        if size > LINE_LIMIT:
            raise build_csv_error(
                "csv_line_too_long",
                Message("A line has more than {line_limit} characters.", line_limit=LINE_LIMIT),
                LINE_LIMIT,
                Message("Check the line ends, and that this is a CSV file."),
            )
        yield from parts
    if rest:
        yield "".join(rest)


class MeteredLines:
    """Lines for the csv module, with limits on the characters and delimiters of one record."""

    def __init__(self, source: Iterable[str], delimiter: str) -> None:
        self.source = iter(source)
        self.delimiter = delimiter
        self.reset()

    def reset(self) -> None:
        """A new record begins."""
        self.consumed = self.delimiters = 0

    def __iter__(self) -> MeteredLines:
        return self

    def __next__(self) -> str:
        line = next(self.source)
        self.consumed += len(line)
        if self.consumed > RECORD_LIMIT:
            raise csv.Error("record too long")
        self.delimiters += line.count(self.delimiter)
        if self.delimiters > DELIMITER_LIMIT:
            raise csv.Error("too many delimiters")
        return line


def read_records(source: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells) of every record that is not blank."""
    metered = MeteredLines(source, delimiter)
    # Strict, or a quote that is never closed would swallow the rest of the file without a word.
    reader = csv.reader(metered, delimiter=delimiter, strict=True)
    number = 0
    while True:
        metered.reset()
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise build_record_error(number + 1, line, str(error)) from None
        if cells:
            number += 1
            yield number, cells


def build_record_error(number: int, line: int, message: str) -> CsvError:
    """The csv module's complaint about the record that begins at `line`, in words that name the place."""
    if message == "too many delimiters":
        return build_csv_error(
            "csv_too_many_columns",
            Message(
                "Row {number} (line {line}) has more than {delimiter_limit} delimiters.",
                number=number,
                line=line,
                delimiter_limit=DELIMITER_LIMIT,
            ),
            f"{COLUMN_LIMIT} columns, {DELIMITER_LIMIT} delimiters in a row",
            Message("Check the line ends, and that this is a CSV file."),
        )
    if "limit" in message or "record too long" in message:
        return build_csv_error(
            "csv_cell_too_long",
            Message(
                "Row {number} (line {line}) has a cell of more than {cell_limit} characters, or too many.",
                number=number,
                line=line,
                cell_limit=CELL_LIMIT,
            ),
            f"{CELL_LIMIT} characters in a cell, {RECORD_LIMIT} in a row",
            Message("Shorten it; a quote that is never closed also makes one."),
        )
    return build_csv_error(
        "csv_broken_quote",
        Message(
            "Row {number} (line {line}) has a quoted cell that is not closed, or that goes on after its closing quote.",
            number=number,
            line=line,
        ),
        "quotes around the whole cell, and quotes inside it doubled",
        Message('Write "a ""quoted"" word", and close every quote.'),
    )


def check_header(names: Sequence[str], delimiter: str) -> None:
    if len(names) > COLUMN_LIMIT:
        raise build_csv_error(
            "csv_too_many_columns",
            Message("The header has {count} columns.", count=len(names)),
            f"{COLUMN_LIMIT} columns",
            Message("Check the delimiter {delimiter!r}, or split the table.", delimiter=delimiter),
        )
    position_by_name: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise build_csv_error(
                "csv_empty_column",
                Message("Column {position} of the header has no name.", position=position),
                "a name for every column",
                Message("Name it, or remove the column; the first row must be the header."),
            )
        if len(name) > NAME_LIMIT:
            raise build_csv_error(
                "csv_name_too_long",
                Message("The name of column {position} has {count} characters.", position=position, count=len(name)),
                f"{NAME_LIMIT} characters",
                Message("Shorten it."),
            )
        if name in position_by_name:
            raise build_csv_error(
                "csv_duplicate_column",
                Message(
                    "The column name {name!r} stands at column {seen} and again at column {position}.",
                    name=name[:60],
                    seen=position_by_name[name],
                    position=position,
                ),
                "every column name once",
                Message("Rename one of them in the header."),
            )
        position_by_name[name] = position


# -- a part of a file -------------------------------------------------------------------------------------------------
class DecodedLines:
    """Decoded lines of some bytes; `consumed` counts the bytes given out, `ended` is set at the end of the data."""

    def __init__(self, data: bytes, encoding: str, *, is_complete: bool) -> None:
        # No byte of a longer character is a line end, neither in UTF-8 nor in GB18030.
        self.lines, self.encoding = iter(data.splitlines(keepends=True)), encoding
        self.size, self.is_complete, self.consumed, self.ended = len(data), is_complete, 0, False

    def __iter__(self) -> DecodedLines:
        return self

    def __next__(self) -> str:
        line, first = next(self.lines, b""), self.consumed == 0
        end = self.consumed + len(line)
        # The last line may go on, and a \r at its end may be half of \r\n.
        if not line or (end == self.size and not self.is_complete and not line.endswith(b"\n")):
            self.ended = True
            raise StopIteration
        self.consumed = end
        text = line.decode(self.encoding, "replace")
        return text.removeprefix(BYTE_ORDER_MARK) if first else text


def iter_records(data: bytes, dialect: CsvDialect, *, is_complete: bool) -> Iterator[tuple[list[str], int]]:
    """Iterate over (cells, end byte) of the records that are complete in a part of a file; blank lines do not count.

    `is_complete`: nothing follows the part, so its last record is complete too. Bytes that do not decode are replaced.
    Raises csv.Error at a cell beyond the limits of the csv module.
    """
    lines = DecodedLines(data, dialect.encoding, is_complete=is_complete)
    for cells in csv.reader(lines, delimiter=dialect.delimiter):
        if lines.ended and not is_complete:
            return  # a quoted cell goes on behind what was read
        if cells:
            yield cells, lines.consumed


def find_line(lines: Iterable[str], delimiter: str, number: int) -> int:
    """The line, from 1, on which record `number`, from 1, begins; the number where the csv module cannot read on."""
    reader = csv.reader(lines, delimiter=delimiter)
    records = before = 0
    try:
        for cells in reader:
            records += bool(cells)
            if records == number:
                return before + 1
            before = reader.line_num
    except (csv.Error, CsvError):
        pass
    return number
