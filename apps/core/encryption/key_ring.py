"""Key-encryption keys of the operator, from ENCRYPTION_KEYS: the first encrypts, the others still decrypt."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
KEY_BYTES = 32


class KeyMissing(Exception):
    """No key of this id is configured."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no encryption key {key_id!r}")
        self.key_id = key_id


class EncryptionKey(NamedTuple):
    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"EncryptionKey({self.id!r})"  # never its bytes: tracebacks and logs print arguments


class KeyRing:
    """Keys by id, in order of preference; falsy where there is none."""

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        self.keys = {key.id: key for key in keys}

    def __bool__(self) -> bool:
        return bool(self.keys)

    @property
    def active(self) -> EncryptionKey:
        """The key that new things are encrypted under. KeyMissing where there is none."""
        for key in self.keys.values():
            return key
        raise KeyMissing("")

    def get_key(self, key_id: str) -> EncryptionKey:
        try:
            return self.keys[key_id]
        except KeyError:
            raise KeyMissing(key_id) from None


def parse_keys(entries: Sequence[str]) -> list[EncryptionKey]:
    """Keys from `ID:BASE64` entries. ValueError names what is wrong, never the key."""
    keys: list[EncryptionKey] = []
    for number, entry in enumerate(entries, 1):
        key_id, separator, encoded = entry.partition(":")
        if not separator or not KEY_ID.fullmatch(key_id):
            raise ValueError(f"entry {number} must be ID:BASE64, the id of small letters, digits and hyphens")
        try:
            secret = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            secret = b""
        if len(secret) != KEY_BYTES:
            raise ValueError(f"key {key_id} must be the base64 of {KEY_BYTES} bytes: openssl rand -base64 {KEY_BYTES}")
        if any(key_id == key.id for key in keys):
            raise ValueError(f"two keys are called {key_id}")
        keys.append(EncryptionKey(key_id, secret))
    return keys


def derive_fallback_key(secret_key: str) -> EncryptionKey:
    """The key that stands in for ENCRYPTION_KEYS where none is set: made of SECRET_KEY, its id of its hash."""
    secret = hashlib.sha256(b"plane/encryption-key/v1\0" + secret_key.encode()).digest()
    return EncryptionKey(f"secret-key-{hashlib.sha256(secret).hexdigest()[:8]}", secret)
