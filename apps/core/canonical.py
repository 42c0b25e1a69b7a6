"""Canonical JSON: the one text of a value, so that its digest names it.

Sorted keys, no white space, UTF-8 as it is, no NaN or Infinity; integers and strings are exact, floats are
written by Python's shortest round-trip repr (RFC 8785 differs from it only in the spelling of exponents).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def encode_canonical_json(value: Any) -> str:
    """The canonical text of `value`; ValueError for NaN, Infinity, TypeError for what JSON does not know."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_hex(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def compute_digest(value: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical text of `value`."""
    return sha256_hex(encode_canonical_json(value))
