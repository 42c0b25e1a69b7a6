"""Tables as CSV files (RFC 4180, UTF-8) that a program reads back and that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse

# What a spreadsheet takes for a formula. A number may begin with a sign; nothing else may.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
PLAIN_NAME = re.compile(r"[^\w.-]+", re.ASCII)


def build_csv_response(name: str, content: bytes | Iterator[bytes]) -> HttpResponse | StreamingHttpResponse:
    """An answer that a browser saves as `name`.csv; what a header or a file system might misread is a hyphen."""
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{PLAIN_NAME.sub("-", name)}.csv"',
    }
    answer = HttpResponse if isinstance(content, bytes) else StreamingHttpResponse
    return answer(content, content_type="text/csv; charset=utf-8", headers=headers)


def encode_csv(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="replace")


def format_cell(value: Any) -> str:
    """A value as text that a program reads back and that no spreadsheet runs."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value)
    return escape_formula(str(value))


def escape_formula(text: str) -> str:
    """What a spreadsheet would take for a formula begins with an apostrophe, as OWASP has it."""
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text
