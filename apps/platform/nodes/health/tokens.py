"""Secrets of nodes' doctors: made here, shown once, kept as their SHA-256."""

from __future__ import annotations

import re
import secrets

from apps.core.canonical import sha256_hex

NODE_PREFIX = "dsn_"  # lets scanners find a token that leaked into a repository
PREFIX_LENGTH = 12  # characters that are kept and shown
TOKEN = re.compile(r"dsn_[A-Za-z0-9_-]{43}")


def generate_secret() -> tuple[str, str, str]:
    """(secret, its first characters, its digest): 256 random bits, which need no salt."""
    secret = NODE_PREFIX + secrets.token_urlsafe(32)
    return secret, secret[:PREFIX_LENGTH], sha256_hex(secret)


def compute_token_digest(secret: str) -> str:
    """The digest by which a token is looked up; "" for what cannot be one, which no row has."""
    return sha256_hex(secret) if TOKEN.fullmatch(secret) else ""
