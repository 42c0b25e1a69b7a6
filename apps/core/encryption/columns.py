"""Texts that lie encrypted in columns: `enc1:CIPHER:KEY:BASE64`, under a key of ENCRYPTION_KEYS, or else of SECRET_KEY.

The key is derived from the purpose (which column it is), so a ciphertext that is moved to another column does not
decrypt there. Texts from before were Fernet tokens under SECRET_KEY; they still decrypt.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from apps.core.encryption.ciphers import CIPHERS, NONCE_BYTES, Cipher, DecryptionError
from apps.core.encryption.key_ring import KeyMissing, KeyRing, derive_fallback_key, parse_keys

VERSION = "enc1"
FERNET = "gAAAA"  # how each Fernet token begins


class TextUnreadable(Exception):
    """The text is under a key that this plane does not have, or was changed."""


def encrypt_text(text: str, purpose: str) -> str:
    """The ciphertext of `text` under the active key, as it is stored. `purpose` names the column."""
    cipher, key = CIPHERS[settings.ENV.column_cipher], get_key_ring().active
    nonce = secrets.token_bytes(NONCE_BYTES)
    prefix = f"{VERSION}:{cipher.name}:{key.id}"
    sealed = cipher.encrypt(derive(cipher, key.secret, purpose), nonce, text.encode(), prefix.encode())
    return f"{prefix}:{base64.b64encode(nonce + sealed).decode()}"


def decrypt_text(stored: str, purpose: str) -> str:
    """The text of a stored ciphertext. Raises TextUnreadable."""
    if stored.startswith(FERNET):
        return decrypt_former(stored, purpose)
    try:
        version, cipher_name, key_id, encoded = stored.split(":")
        if version != VERSION:
            raise ValueError(version)
        cipher, key = CIPHERS[cipher_name], get_key_ring().get_key(key_id)
        sealed = base64.b64decode(encoded, validate=True)
        derived = derive(cipher, key.secret, purpose)
        associated = f"{version}:{cipher_name}:{key_id}".encode()
        return cipher.decrypt(derived, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated).decode()
    except (ValueError, KeyError, KeyMissing, DecryptionError, binascii.Error):
        raise TextUnreadable("encrypted under a key that this plane does not have") from None


def is_encrypted(stored: str) -> bool:
    return stored.startswith((f"{VERSION}:", FERNET))


def is_current(stored: str) -> bool:
    """Whether a stored text is under the active key and the configured cipher."""
    return stored.startswith(f"{VERSION}:{settings.ENV.column_cipher}:{get_key_ring().active.id}:")


def get_key_ring() -> KeyRing:
    return build_key_ring(
        tuple(key.get_secret_value() for key in settings.ENV.encryption_keys),
        (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS),
    )


@lru_cache(maxsize=4)
def build_key_ring(entries: tuple[str, ...], secret_keys: tuple[str, ...]) -> KeyRing:
    return KeyRing([*parse_keys(entries), *(derive_fallback_key(secret) for secret in secret_keys)])


def derive(cipher: Cipher, secret: bytes, purpose: str) -> bytes:
    return cipher.derive_key(secret, b"plane/columns/v1", purpose.encode())


def decrypt_former(token: str, purpose: str) -> str:
    """Of a Fernet token, whose key was derived from SECRET_KEY and the same purpose."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    try:
        return MultiFernet([build_fernet(secret, purpose) for secret in keys]).decrypt(token.encode()).decode()
    except InvalidToken:
        raise TextUnreadable("encrypted under another SECRET_KEY") from None


@lru_cache(maxsize=32)
def build_fernet(secret: str, purpose: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
