"""Secrets that are shown once: one-time passwords and tokens."""

from __future__ import annotations

import secrets

from apps.core.canonical import sha256_hex

TOKEN_PREFIX = "dso_"  # noqa: S105 - lets scanners find a token that leaked into a repository
SHOWN = 12
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no 0/o, 1/l/i: it is read aloud and typed


def generate_one_time_password() -> str:
    """20 letters and digits in groups of five: 99 bits."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))


def generate_token() -> tuple[str, str, str]:
    """(secret, prefix, digest): `dso_` and 43 URL-safe characters, 256 bits; only prefix and digest are kept."""
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return secret, secret[:SHOWN], sha256_hex(secret)
