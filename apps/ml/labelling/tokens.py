"""Tokens of Label Studio and secrets of its webhooks: encrypted in the database.

They have to be read again to be sent, so they cannot be hashed as a token of the plane is.
"""

from __future__ import annotations

import secrets

from apps.core.encryption.columns import TextUnreadable, decrypt_text, encrypt_text

PURPOSE = "plane/label-studio-tokens/v1"


class TokenUnreadable(Exception):
    """It was encrypted under a key that this plane no longer has."""


def generate_hook_secret() -> str:
    return secrets.token_urlsafe(32)


def generate_hook_key() -> str:
    return secrets.token_hex(16)


def encrypt_token(token: str) -> str:
    return encrypt_text(token, PURPOSE)


def decrypt_token(stored: str) -> str:
    try:
        return decrypt_text(stored, PURPOSE)
    except TextUnreadable:
        raise TokenUnreadable("the token was encrypted under another key; set it again") from None
