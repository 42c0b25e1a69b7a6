"""Tokens of Label Studio and secrets of its webhooks: encrypted in the database under a key of SECRET_KEY.

They have to be read again to be sent, so they cannot be hashed as a token of the plane is.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

CONTEXT = b"plane/label-studio-tokens/v1"


class TokenUnreadable(Exception):
    """It was encrypted under a key that this plane no longer has."""


def generate_hook_secret() -> str:
    return secrets.token_urlsafe(32)


def generate_hook_key() -> str:
    return secrets.token_hex(16)


def encrypt_token(token: str) -> str:
    return build_cipher().encrypt(token.encode()).decode()


def decrypt_token(stored: str) -> str:
    try:
        return build_cipher().decrypt(stored.encode()).decode()
    except InvalidToken:
        raise TokenUnreadable("the token was encrypted under another SECRET_KEY; set it again") from None


def build_cipher() -> MultiFernet:
    return MultiFernet([Fernet(derive_key(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def derive_key(secret_key: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=CONTEXT).derive(secret_key.encode())
    return base64.urlsafe_b64encode(derived)
