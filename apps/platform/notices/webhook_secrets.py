"""Secrets of webhooks, and the signatures made with them: Standard Webhooks (standardwebhooks.com), symmetric, v1.

A secret has to be read again to sign, so it cannot be hashed as a token is. The database holds it encrypted
(apps/core/encryption/columns.py).
"""

from __future__ import annotations

import base64
import hmac
import secrets

from apps.core.encryption.columns import TextUnreadable, decrypt_text, encrypt_text

PREFIX = "whsec_"
SECRET_BYTES = 32
PURPOSE = "plane/webhook-secrets/v1"


class SecretUnreadable(Exception):
    """The secret was encrypted under a key that this plane no longer has."""


def generate_secret() -> str:
    """A new secret in the form that libraries of the standard take."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def encrypt_secret(secret: str) -> str:
    return encrypt_text(secret, PURPOSE)


def decrypt_secret(stored: str) -> str:
    try:
        return decrypt_text(stored, PURPOSE)
    except TextUnreadable:
        raise SecretUnreadable("the secret was encrypted under another key; set a new secret") from None


def build_signature(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 over id, timestamp (seconds since 1970) and body, joined by dots."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    content = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
