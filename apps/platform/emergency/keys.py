"""Printed keys: 160 random bits in base32, in groups that can be typed from paper."""

from __future__ import annotations

import base64
import secrets

from apps.core.canonical import sha256_hex

KEY_BYTES = 20
GROUP = 4
MISREAD = str.maketrans("018", "OIB")  # base32 has none of these digits


def generate_key() -> str:
    """A new key, such as ABCD-EFGH-...: 8 groups of 4 characters."""
    text = base64.b32encode(secrets.token_bytes(KEY_BYTES)).decode()
    return "-".join(text[start : start + GROUP] for start in range(0, len(text), GROUP))


def compute_key_digest(typed: str) -> str:
    """The digest of a key as somebody typed it: blanks, hyphens and case do not count."""
    return sha256_hex("".join(typed.upper().translate(MISREAD).replace("-", "").split()))
