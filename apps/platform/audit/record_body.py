"""The body of a record and the columns that are copies of it. The verifier compares them by the same functions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import models

from apps.core.canonical import encode_canonical_json

TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
LENGTHS = {"actor": 200, "action": 80, "object_type": 40, "object_id": 80, "result": 10, "request_id": 40}


def encode_body(body: Mapping[str, Any]) -> str:
    """The canonical text, which is what is stored and hashed. Half a surrogate pair stays as its JSON escape."""
    return encode_canonical_json(body).encode("utf-8", "backslashreplace").decode()


def decode_body(text: str) -> dict[str, Any]:
    """The object that a stored body is, as a page can show it: half a surrogate pair is a question mark.

    Empty for what `encode_body` never writes: no object, NaN and infinity, nested beyond the stack.
    """
    try:
        body = json.loads(text, parse_float=parse_finite, parse_constant=parse_finite)
        if "\\u" in text:
            body = json.loads(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def build_column_copies(body: Mapping[str, Any]) -> dict[str, Any]:
    """The indexed columns that this body has; KeyError, TypeError or ValueError when it is no body of ours."""
    texts = {
        "actor": body["actor"]["label"],
        "action": body["action"],
        "object_type": body["object"]["type"],
        "object_id": body["object"]["id"],
        "result": body["result"],
        "request_id": body["request"],
    }
    return {
        "at": datetime.strptime(body["at"], TIME).replace(tzinfo=UTC),
        "user_id": body["actor"]["user"],
        "project_id": body["project"],
        "job_id": body["job"],
        **{name: truncate_column_text(text, LENGTHS[name]) for name, text in texts.items()},
    }


def truncate_column_text(text: str, length: int) -> str:
    """A text as a column can hold it: PostgreSQL takes no NUL, no database half a surrogate pair."""
    return text.replace("\x00", "").encode("utf-8", "backslashreplace").decode()[:length]


def convert_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON knows them. What the database decides (an expression) is left out."""
    return {
        str(name): convert_value(value) for name, value in values.items() if not hasattr(value, "resolve_expression")
    }


def convert_value(value: Any) -> Any:
    """A value as JSON knows it; what JSON does not know (a date, a row, infinity) by its key or its text."""
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, Mapping):
        return convert_fields(value)
    if isinstance(value, list | tuple | set | frozenset):
        items = [convert_value(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return str(value)
