"""Secrets of devices: made here, shown once, kept as their SHA-256."""

from __future__ import annotations

import re
import secrets

from apps.core.canonical import sha256_hex

DEVICE_PREFIX, ENROLMENT_PREFIX = "dsd_", "dse_"  # let scanners find a token that leaked into a repository
PREFIX_LENGTH = 12  # characters that are kept and shown
TOKEN = re.compile(r"ds[de]_[A-Za-z0-9_-]{43}")


def generate_secret(prefix: str) -> tuple[str, str, str]:
    """(secret, its first characters, its digest): 256 random bits, which need no salt."""
    secret = prefix + secrets.token_urlsafe(32)
    return secret, secret[:PREFIX_LENGTH], sha256_hex(secret)


def compute_token_digest(secret: str) -> str:
    """The digest by which a token is looked up; "" for what cannot be one, which no row has.

    The look-up is by a digest of 256 random bits, so its time tells nothing of any token.
    """
    return sha256_hex(secret) if TOKEN.fullmatch(secret) else ""
