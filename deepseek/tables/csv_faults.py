"""What is wrong with a CSV file: one code, message and way out for each fault, whoever reads the file."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.job import EngineError

FIELD = "inputs/table"
ENCODING_FIELD, DELIMITER_FIELD = "/csv/encoding", "/csv/delimiter"
ENCODINGS = ("utf-8", "gb18030")
EITHER = " or ".join(ENCODINGS)


class CsvError(EngineError):
    """A fault of a CSV file. `field` is the file, or what the spec leaves to be found in it."""


def csv_fault(code: str, message: str, limit: str | int, hint: str, *, field: str = FIELD) -> CsvError:
    return CsvError(code, message, field=field, limit=limit, hint=hint)


def nul_byte(position: int, encoding: str) -> CsvError:
    return csv_fault(
        "csv_nul_byte",
        f"Byte {position} is a NUL byte.",
        f"text in {encoding}, which has no NUL bytes",
        "UTF-16 and binary files have them: export as CSV in UTF-8.",
    )


# -- encoding and delimiter that are to be found ----------------------------------------------------------------------
def in_neither_encoding(utf8: int | None, gb18030: int | None) -> CsvError:
    return csv_fault(
        "csv_encoding_unknown",
        f"The encoding cannot be told: byte {utf8} is not valid utf-8, byte {gb18030} is not valid gb18030.",
        f"{EITHER} from the first byte to the last",
        "Export it again as CSV in UTF-8.",
        field=ENCODING_FIELD,
    )


def in_utf16() -> CsvError:
    return csv_fault(
        "csv_encoding_unknown",
        "The file begins with a mark of UTF-16.",
        EITHER,
        "Export it as CSV in UTF-8.",
        field=ENCODING_FIELD,
    )


def unlikely_encoding(utf8: int | None) -> CsvError:
    """Bytes that are Latin letters with accents elsewhere are rare Chinese characters in gb18030."""
    return csv_fault(
        "csv_encoding_unknown",
        f"The encoding cannot be told: byte {utf8} is not valid utf-8, and as gb18030 it is mostly rare characters.",
        EITHER,
        "Export it again as CSV in UTF-8, or choose gb18030 if that is what it is.",
        field=ENCODING_FIELD,
    )


def unknown_delimiter(found: Sequence[str]) -> CsvError:
    return csv_fault(
        "csv_delimiter_unknown",
        f"The delimiter cannot be told: it may be any of {', '.join(map(repr, found))}.",
        "one that gives every row as many cells as the header",
        "Choose the delimiter instead of leaving it to be found.",
        field=DELIMITER_FIELD,
    )
