"""JSON that is signed: one canonical text to sign, and a reader that takes nothing for granted.

Members that this version does not know are ignored, so that a newer plane may add some; the version of a format stands
in its type. A member that stands twice is refused: two readers might take one each.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from deepseek.signing.errors import SigningError, shorten

MAX_DEPTH = 20
MAX_INTEGER = 2**53 - 1
"""The largest whole number that every reader of JSON keeps exact."""
DIGEST = re.compile(r"[0-9a-f]{64}")
KEY_ID = re.compile(r"[0-9a-f]{16}")
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?(?:Z|[+-]\d{2}:\d{2})")


def encode_canonical(value: Any) -> bytes:
    """The bytes that are signed: sorted keys, no white space, UTF-8. Raises ValueError for NaN and Infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def compute_digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def decode_base64(text: str) -> bytes | None:
    """The bytes of standard base64 with its padding and nothing else; None for any other text.

    One value has one text: the bits that padding leaves over must be zero.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read_json_object(data: bytes | str, what: str, *, max_bytes: int) -> dict[str, Any]:
    """The JSON object of `data`. Raises SigningError ``document_malformed`` for anything else, a member that stands
    twice, NaN, too many bytes or levels; `what` names the document in the message."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > max_bytes:
        raise build_document_error(what, "", "it is too long", f"{len(raw)} bytes", f"{max_bytes} bytes")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_refuse_doubles, parse_constant=_refuse_constant)
    except _DoubledMember as error:
        raise build_document_error(what, str(error), "it stands twice", str(error), "once") from None
    except (ValueError, RecursionError):
        raise build_document_error(what, "", "it is not JSON in UTF-8", raw[:100], "JSON") from None
    if not isinstance(value, dict):
        raise build_document_error(what, "", "it is not an object", value, "a JSON object")
    if measure_depth(value) > MAX_DEPTH:
        raise build_document_error(what, "", "it is nested too deep", "", f"{MAX_DEPTH} levels")
    return value


class _DoubledMember(Exception):
    pass


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _DoubledMember(name)
        found[name] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def measure_depth(value: Any) -> int:
    """Levels of a value, without recursion."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        deepest = max(deepest, level)
        if level > MAX_DEPTH:
            break
        if isinstance(item, dict | list):
            waiting.extend((below, level + 1) for below in (item.values() if isinstance(item, dict) else item))
    return deepest


class Fields:
    """The members of one object of a document, each read with its type and limits. `path` is where it stands."""

    def __init__(self, value: Any, what: str, path: str = "") -> None:
        self.what, self.path = what, path
        if not isinstance(value, Mapping):
            raise self.build_error("", "it is not an object", value, "a JSON object")
        self.values: Mapping[str, Any] = value

    def build_error(self, name: str, why: str, value: object, limit: str | int) -> SigningError:
        return build_document_error(self.what, f"{self.path}/{name}" if name else self.path, why, value, limit)

    def read_text(
        self,
        name: str,
        *,
        pattern: re.Pattern[str] | None = None,
        limit: str = "",
        min_length: int = 1,
        max_length: int = 500,
    ) -> str:
        """A text of printable characters that matches `pattern`; `limit` says in words what that is."""
        value = self.values.get(name)
        is_text = isinstance(value, str) and min_length <= len(value) <= max_length and value.isprintable()
        if not isinstance(value, str) or not is_text or (pattern is not None and not pattern.fullmatch(value)):
            limit = limit or f"a text of {min_length} to {max_length} printable characters"
            raise self.build_error(name, "it is missing or not what it must be", value, limit)
        return value

    def read_choice(self, name: str, *choices: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or value not in choices:
            raise self.build_error(name, "it is none of the values that it may have", value, ", ".join(choices))
        return value

    def read_digest(self, name: str) -> str:
        return self.read_text(name, pattern=DIGEST, limit="SHA-256: 64 hex digits in lower case")

    def read_time(self, name: str) -> str:
        """A time of ISO 8601 with its zone, as it was written: no decision rests on it."""
        limit = "ISO 8601 with a zone, such as 2026-11-29T15:44:48Z"
        value = self.read_text(name, pattern=TIME, limit=limit)
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise self.build_error(name, "it is no time that there is", value, limit) from None
        return value

    def read_integer(self, name: str, *, low: int = 0, high: int = MAX_INTEGER) -> int:
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.build_error(name, "it is not such a whole number", value, f"{low} to {high}")
        return value

    def read_number(self, name: str, *, low: float, high: float) -> float:
        value = self.values.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise self.build_error(name, "it is not such a number", value, f"{low:g} to {high:g}")
        return float(value)

    def read_object(self, name: str) -> Fields:
        return Fields(self.values.get(name), self.what, f"{self.path}/{name}")

    def read_list(self, name: str, *, low: int = 0, high: int) -> list[Any]:
        value = self.values.get(name)
        if not isinstance(value, list) or not low <= len(value) <= high:
            found = f"{len(value)} entries" if isinstance(value, list) else value
            raise self.build_error(name, "it is not such a list", found, f"a list of {low} to {high} entries")
        return value

    def iter_objects(self, name: str, *, low: int = 0, high: int) -> Iterator[Fields]:
        for place, value in enumerate(self.read_list(name, low=low, high=high)):
            yield Fields(value, self.what, f"{self.path}/{name}/{place}")

    def read_digests(self, name: str, *, high: int) -> tuple[str, ...]:
        """A list of digests, each once."""
        found: dict[str, None] = {}
        for place, value in enumerate(self.read_list(name, high=high)):
            if not isinstance(value, str) or not DIGEST.fullmatch(value) or value in found:
                limit = "SHA-256 of 64 hex digits, once"
                raise self.build_error(f"{name}/{place}", "it is no digest, or stands twice", value, limit)
            found[value] = None
        return tuple(found)


def build_document_error(what: str, field: str, why: str, value: object, limit: str | int) -> SigningError:
    """The error for a document that cannot be taken, whatever signs it."""
    text = f"{what} is not accepted: {field}: {why}." if field else f"{what} is not accepted: {why}."
    return SigningError("document_malformed", text, field=field or "/", value=shorten(value), limit=limit)
