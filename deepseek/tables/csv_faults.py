"""Errors of CSV files: one code, message and remedy for each fault, shared by all readers."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.job import EngineError
from deepseek.messages import Message

FIELD = "inputs/table"
ENCODING_FIELD, DELIMITER_FIELD = "/csv/encoding", "/csv/delimiter"
ENCODINGS = ("utf-8", "gb18030")
EITHER_ENCODING = " or ".join(ENCODINGS)
BYTE_ORDER_MARK = "\ufeff"
RECORD_NUMBERING = "the header is row 1, blank lines do not count"
LINE_NUMBERING = "rows count as lines, the header is line 1"


class CsvError(EngineError):
    """A fault of a CSV file. `field` is the file, or what the spec leaves to be found in it."""


def build_csv_error(code: str, message: str, limit: str | int, hint: str, *, field: str = FIELD) -> CsvError:
    return CsvError(code, message, field=field, limit=limit, hint=hint)


def build_nul_byte_error(position: int, encoding: str) -> CsvError:
    return build_csv_error(
        "csv_nul_byte",
        Message("Byte {position} is a NUL byte.", position=position),
        f"text in {encoding}, which has no NUL bytes",
        Message("UTF-16 and binary files have them: export as CSV in UTF-8."),
    )


# -- encoding and delimiter that are to be found ----------------------------------------------------------------------
def build_neither_encoding_error(utf8: int | None, gb18030: int | None) -> CsvError:
    return build_csv_error(
        "csv_encoding_unknown",
        Message(
            "The encoding cannot be told: byte {utf8} is not valid utf-8, byte {gb18030} is not valid gb18030.",
            utf8=utf8,
            gb18030=gb18030,
        ),
        f"{EITHER_ENCODING} from the first byte to the last",
        Message("Export it again as CSV in UTF-8."),
        field=ENCODING_FIELD,
    )


def build_utf16_error() -> CsvError:
    return build_csv_error(
        "csv_encoding_unknown",
        Message("The file begins with a mark of UTF-16."),
        EITHER_ENCODING,
        Message("Export it as CSV in UTF-8."),
        field=ENCODING_FIELD,
    )


def build_unlikely_encoding_error(utf8: int | None) -> CsvError:
    """Bytes that are Latin letters with accents elsewhere are rare Chinese characters in gb18030."""
    return build_csv_error(
        "csv_encoding_unknown",
        Message(
            "The encoding cannot be told: byte {utf8} is not valid utf-8, and as gb18030 it is mostly rare characters.",
            utf8=utf8,
        ),
        EITHER_ENCODING,
        Message("Export it again as CSV in UTF-8, or choose gb18030 if that is what it is."),
        field=ENCODING_FIELD,
    )


def build_unknown_delimiter_error(candidates: Sequence[str]) -> CsvError:
    return build_csv_error(
        "csv_delimiter_unknown",
        Message("The delimiter cannot be told: it may be any of {map}.", map=", ".join(map(repr, candidates))),
        "one that gives every row as many cells as the header",
        Message("Choose the delimiter instead of leaving it to be found."),
        field=DELIMITER_FIELD,
    )


# -- the header -------------------------------------------------------------------------------------------------------
def build_misplaced_mark_error(file_name: str | None = None) -> CsvError:
    """Build the error for a byte order mark behind blank lines or another mark: it would be part of a column's name."""
    return CsvError(
        "csv_misplaced_mark",
        "The header begins with a byte order mark that is not at the beginning of the file.",
        field=FIELD,
        value=file_name,
        limit="one byte order mark, before everything else",
        hint=Message("Remove the mark, and blank lines before the header, or export it again as CSV in UTF-8."),
    )


# -- rows and bytes ---------------------------------------------------------------------------------------------------
def build_cell_count_error(
    number: int,
    cell_count: int,
    header_count: int,
    delimiter: str,
    *,
    numbering: str = RECORD_NUMBERING,
    row: str | None = None,
) -> CsvError:
    """Build the error for a row of more or fewer cells than the header. `numbering`: what counts; `row`: its text."""
    return CsvError(
        "csv_broken_row",
        "Row {number} has {cells_text}, the header has {wanted}.",
        number=number,
        cells_text=format_cell_count(cell_count),
        wanted=header_count,
        field=FIELD,
        value=row,
        limit=f"{format_cell_count(header_count)} in every row; {numbering}",
        hint=(
            Message("Quote cells that contain {delimiter!r}, or choose the right delimiter.", delimiter=delimiter)
            if cell_count > header_count
            else Message("Fill the row up with empty cells, or remove it.")
        ),
    )


def build_undecodable_error(position: int, error: UnicodeDecodeError, encoding: str) -> CsvError:
    hex_bytes = " ".join(f"{byte:02x}" for byte in error.object[error.start : error.start + 4])
    other_encoding = next(name for name in ENCODINGS if name != encoding)
    return build_csv_error(
        "csv_undecodable",
        Message(
            "Byte {position} ({found}) is not valid {encoding}.", position=position, found=hex_bytes, encoding=encoding
        ),
        encoding,
        Message("Choose the encoding that the file was written in, perhaps {other}.", other=other_encoding),
    )


def format_cell_count(count: int) -> str:
    return Message("1 cell") if count == 1 else Message("{count} cells", count=count)
