"""Private keys of studies and sites, encrypted in the database under a key of SECRET_KEY."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from apps.core.errors import Unavailable
from deepseek.messages import N_

CONTEXT = b"plane/federation-keys/v1"


def encrypt_key(pem: str) -> str:
    return build_key_cipher().encrypt(pem.encode()).decode()


def decrypt_key(stored: str) -> str:
    """The PEM of a stored key. Raises Unavailable `key_unreadable` under another SECRET_KEY."""
    try:
        return build_key_cipher().decrypt(stored.encode()).decode()
    except InvalidToken:
        raise Unavailable(
            "The private key was encrypted under another SECRET_KEY.",
            code="key_unreadable",
            hint=N_("Add the former key to SECRET_KEY_FALLBACKS."),
        ) from None


def build_key_cipher() -> MultiFernet:
    return MultiFernet(
        [Fernet(derive_cipher_key(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    )


def derive_cipher_key(secret_key: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=CONTEXT).derive(secret_key.encode())
    return base64.urlsafe_b64encode(derived)
