"""Secrets of webhooks, and the signatures made with them: Standard Webhooks (standardwebhooks.com), symmetric, v1.

A secret has to be read again to sign, so it cannot be hashed as a token is. The database holds it encrypted (Fernet)
under a key derived from SECRET_KEY, which is kept in a file outside it; former keys (SECRET_KEY_FALLBACKS) still read.
"""

from __future__ import annotations

import base64
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PREFIX = "whsec_"
SECRET_BYTES = 32
CONTEXT = b"plane/webhook-secrets/v1"


class SecretUnreadable(Exception):
    """The secret was encrypted under a key that this plane no longer has."""


def generate_secret() -> str:
    """A new secret in the form that libraries of the standard take."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def build_cipher() -> MultiFernet:
    return MultiFernet([Fernet(derive_key(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def derive_key(secret_key: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=CONTEXT).derive(secret_key.encode())
    return base64.urlsafe_b64encode(derived)


def encrypt_secret(secret: str) -> str:
    return build_cipher().encrypt(secret.encode()).decode()


def decrypt_secret(stored: str) -> str:
    try:
        return build_cipher().decrypt(stored.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable("the secret was encrypted under another SECRET_KEY; set a new secret") from None


def build_signature(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 over id, timestamp (seconds since 1970) and body, joined by dots."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    content = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
