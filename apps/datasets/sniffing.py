"""How a CSV file is written, encoding and delimiter, found in its bytes. What is not certain is not guessed."""

from __future__ import annotations

from collections.abc import Iterable

from apps.datasets.inspection import check_dialect
from apps.errors import Invalid
from deepseek.tables import csv_dialect
from deepseek.tables.csv_dialect import AUTO, Dialect
from deepseek.tables.csv_faults import DELIMITER_FIELD, ENCODINGS, CsvError


def check_asked(delimiter: str, encoding: str) -> None:
    """Raise Invalid for what is neither AUTO nor a way to read a CSV file."""
    check_dialect("," if delimiter == AUTO else delimiter, ENCODINGS[0] if encoding == AUTO else encoding)


def find_dialect(chunks: Iterable[bytes], delimiter: str, encoding: str) -> Dialect:
    """As csv_dialect.find_dialect. Raises Invalid with its codes, bad_delimiter and bad_encoding."""
    check_asked(delimiter, encoding)
    try:
        return csv_dialect.find_dialect(chunks, delimiter, encoding)
    except CsvError as error:
        field = "delimiter" if error.field == DELIMITER_FIELD else "file"
        raise Invalid(error.message, code=error.code, field=field, limit=error.limit, hint=error.hint) from None
