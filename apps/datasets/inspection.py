"""Read a CSV file once, as a stream, and say what is in it or what is wrong with it, by row and by byte.

Pure: bytes in, facts out. Memory is bounded by one chunk, LINE_LIMIT and RECORD_LIMIT, whatever the size of the file.
Rows are records: the header is row 1, blank lines do not count, a quoted cell may span lines.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from apps.datasets.dtypes import Guess
from apps.errors import Invalid
from deepseek.tables.csv_dialect import is_delimiter
from deepseek.tables.csv_faults import ENCODINGS

CELL_LIMIT = 131_072  # characters: the csv module's own default, left alone because it is global to the process
LINE_LIMIT = 16 * 2**20  # characters
RECORD_LIMIT = 32 * 2**20  # characters: quoted cells may make one record of many lines
DELIMITER_LIMIT = 1_000_000  # in one record, quoted or not: the csv module makes its cells before anybody counts them
COLUMN_LIMIT = 10_000
NAME_LIMIT = 500
SAMPLE_CELLS = 1_000_000  # from which dtypes are guessed; every row is checked for its shape
FINISHED = "Check that the export that made the file has finished."


@dataclass(frozen=True, slots=True)
class Inspection:
    """`columns` as a version keeps them: [{"name", "dtype"}], the dtype guessed from the first rows."""

    rows: int
    columns: list[dict[str, str]]


def inspect_csv(chunks: Iterable[bytes], *, delimiter: str = ",", encoding: str = "utf-8") -> Inspection:
    """Count the rows and guess the columns of a whole CSV file.

    Raises Invalid, naming row or byte, limit and way out, with one of the codes csv_empty, csv_no_rows,
    csv_broken_row, csv_empty_column, csv_duplicate_column, csv_too_many_columns, csv_name_too_long, csv_undecodable,
    csv_nul_byte, csv_cell_too_long, csv_line_too_long, csv_broken_quote; bad_delimiter or bad_encoding.
    """
    check_dialect(delimiter, encoding)
    records = numbered(lines(decoded(chunks, encoding)), delimiter)
    names = next(records, (0, []))[1]
    if not names:
        raise fault("csv_empty", "The file is empty: it has no row.", "a header and at least one row", FINISHED)
    check_header(names, delimiter)
    guesses = [Guess() for _ in names]
    rows = 0
    for number, cells in records:
        if len(cells) != len(names):
            raise broken_row(number, len(cells), len(names), delimiter)
        if rows * len(names) < SAMPLE_CELLS:
            for guess, cell in zip(guesses, cells, strict=True):
                guess.see(cell)
        rows += 1
    if rows == 0:
        raise fault("csv_no_rows", "The file has a header but no rows.", "at least one row below the header", FINISHED)
    return Inspection(rows, [{"name": name, "dtype": guess.dtype} for name, guess in zip(names, guesses, strict=True)])


def check_dialect(delimiter: str, encoding: str) -> None:
    """Raise Invalid for a delimiter or an encoding that cleaning could not read either."""
    if not is_delimiter(delimiter):
        raise Invalid(
            f"{delimiter[:10]!r} cannot part cells.",
            code="bad_delimiter",
            field="delimiter",
            limit="one ASCII character other than a letter, a digit, a quote or a line end",
            hint="Use a comma, a semicolon or a tab.",
        )
    if encoding not in ENCODINGS:
        raise Invalid(
            f"{encoding[:20]!r} is not an encoding that can be read.",
            code="bad_encoding",
            field="encoding",
            limit=", ".join(ENCODINGS),
            hint="gb18030 also reads GBK and GB2312.",
        )


def decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[str]:
    """The text of the chunks without a byte order mark; a byte that does not decode is named by its position."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, began = 0, False
    for chunk in closed(chunks):
        nul = chunk.find(b"\0")
        if nul >= 0:
            raise nul_byte(offset + nul, encoding)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            # `object` holds what the decoder had kept of earlier chunks, then this one.
            raise undecodable(offset + len(chunk) - len(error.object) + error.start, error, encoding) from None
        offset += len(chunk)
        if text and not began:
            text, began = text.removeprefix("\ufeff"), True
        yield text


def closed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks that hold something, then one empty one: it tells the decoder that no more comes."""
    yield from (chunk for chunk in chunks if chunk)
    yield b""


def lines(texts: Iterable[str]) -> Iterator[str]:
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
            raise fault(
                "csv_line_too_long",
                f"A line has more than {LINE_LIMIT} characters.",
                LINE_LIMIT,
                "Check the line ends, and that this is a CSV file.",
            )
        yield from parts
    if rest:
        yield "".join(rest)


class Metered:
    """Lines, with what was taken of them since the last reset: an iterator that the csv module can read."""

    def __init__(self, source: Iterable[str], delimiter: str) -> None:
        self.source = iter(source)
        self.delimiter = delimiter
        self.reset()

    def reset(self) -> None:
        """A new record begins."""
        self.taken = self.delimiters = 0

    def __iter__(self) -> Metered:
        return self

    def __next__(self) -> str:
        line = next(self.source)
        self.taken += len(line)
        if self.taken > RECORD_LIMIT:
            raise csv.Error("record too long")
        self.delimiters += line.count(self.delimiter)
        if self.delimiters > DELIMITER_LIMIT:
            raise csv.Error("too many delimiters")
        return line


def numbered(source: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells) of every record that is not blank."""
    metered = Metered(source, delimiter)
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
            raise unreadable(number + 1, line, str(error)) from None
        if cells:
            number += 1
            yield number, cells


def check_header(names: Sequence[str], delimiter: str) -> None:
    if len(names) > COLUMN_LIMIT:
        raise fault(
            "csv_too_many_columns",
            f"The header has {len(names)} columns.",
            f"{COLUMN_LIMIT} columns",
            f"Check the delimiter {delimiter!r}, or split the table.",
        )
    seen: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise fault(
                "csv_empty_column",
                f"Column {position} of the header has no name.",
                "a name for every column",
                "Name it, or remove the column; the first row must be the header.",
            )
        if len(name) > NAME_LIMIT:
            raise fault(
                "csv_name_too_long",
                f"The name of column {position} has {len(name)} characters.",
                f"{NAME_LIMIT} characters",
                "Shorten it.",
            )
        if name in seen:
            raise fault(
                "csv_duplicate_column",
                f"The column name {name[:60]!r} stands at column {seen[name]} and again at column {position}.",
                "every column name once",
                "Rename one of them in the header.",
            )
        seen[name] = position


def broken_row(number: int, found: int, wanted: int, delimiter: str) -> Invalid:
    many = f"Quote cells that contain {delimiter!r}, or choose the right delimiter."
    few = "Fill the row up with empty cells, or remove it."
    return fault(
        "csv_broken_row",
        f"Row {number} has {cells_text(found)}, the header has {wanted}.",
        f"{cells_text(wanted)} in every row; the header is row 1, blank lines do not count",
        many if found > wanted else few,
    )


def unreadable(number: int, line: int, message: str) -> Invalid:
    """The csv module's complaint about the record that begins at `line`, in words that name the place."""
    if message == "too many delimiters":
        return fault(
            "csv_too_many_columns",
            f"Row {number} (line {line}) has more than {DELIMITER_LIMIT} delimiters.",
            f"{COLUMN_LIMIT} columns, {DELIMITER_LIMIT} delimiters in a row",
            "Check the line ends, and that this is a CSV file.",
        )
    if "limit" in message or "record too long" in message:
        return fault(
            "csv_cell_too_long",
            f"Row {number} (line {line}) has a cell of more than {CELL_LIMIT} characters, or too many.",
            f"{CELL_LIMIT} characters in a cell, {RECORD_LIMIT} in a row",
            "Shorten it; a quote that is never closed also makes one.",
        )
    return fault(
        "csv_broken_quote",
        f"Row {number} (line {line}) has a quoted cell that is not closed, or that goes on after its closing quote.",
        "quotes around the whole cell, and quotes inside it doubled",
        'Write "a ""quoted"" word", and close every quote.',
    )


def nul_byte(position: int, encoding: str) -> Invalid:
    return fault(
        "csv_nul_byte",
        f"Byte {position} is a NUL byte.",
        f"text in {encoding}, which has no NUL bytes",
        "UTF-16 and binary files have them: export as CSV in UTF-8.",
    )


def undecodable(position: int, error: UnicodeDecodeError, encoding: str) -> Invalid:
    found = " ".join(f"{byte:02x}" for byte in error.object[error.start : error.start + 4])
    other = next(name for name in ENCODINGS if name != encoding)
    return fault(
        "csv_undecodable",
        f"Byte {position} ({found}) is not valid {encoding}.",
        encoding,
        f"Choose the encoding that the file was written in, perhaps {other}.",
    )


def cells_text(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def fault(code: str, message: str, limit: Any, hint: str) -> Invalid:
    return Invalid(message, code=code, field="file", limit=limit, hint=hint)
