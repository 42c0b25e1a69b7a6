"""Ed25519 keys: made, kept in a file that nobody else may read, and named by their public half."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from deepseek.signing.documents import compute_digest, decode_base64, encode_base64
from deepseek.signing.errors import SigningError, shorten

KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_KEY_FILE_BYTES = 10_000

PublicKey: TypeAlias = Ed25519PublicKey
PublicKeys: TypeAlias = Mapping[str, Ed25519PublicKey]
"""Key id -> public key."""


class Signer(Protocol):
    """Whatever holds a private key and signs with it: a file's, or a token's that never gives the key away."""

    @property
    def public_key(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """The signature of 64 bytes over `message`."""


@dataclass(frozen=True)
class FileSigner:
    """A private key in this process' memory."""

    private_key: Ed25519PrivateKey

    @property
    def public_key(self) -> PublicKey:
        return self.private_key.public_key()

    def sign(self, message: bytes) -> bytes:
        return self.private_key.sign(message)


def generate_key() -> FileSigner:
    return FileSigner(Ed25519PrivateKey.generate())


def compute_key_id(key: PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return compute_digest(key.public_bytes_raw())[:16]


def encode_public_key(key: PublicKey) -> str:
    """Base64 of the raw 32 bytes."""
    return encode_base64(key.public_bytes_raw())


def encode_public_pem(key: PublicKey) -> str:
    """What openssl reads."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def decode_public_key(text: str, field: str = "public_key") -> PublicKey:
    """The key of a base64 text. Raises SigningError ``public_key_malformed``."""
    raw = decode_base64(text) if isinstance(text, str) else None
    if raw is None or len(raw) != KEY_BYTES:
        raise SigningError(
            "public_key_malformed",
            "This is no public key of Ed25519.",
            field=field,
            value=shorten(text),
            limit=f"base64 of {KEY_BYTES} bytes",
        )
    return Ed25519PublicKey.from_public_bytes(raw)


def is_signature(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the holder of `key` signed `message`."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def save_private_key(path: Path, signer: FileSigner) -> None:
    """Write the key as PEM (PKCS #8) into a new file of mode 0600. Raises SigningError ``key_file_exists``.

    The file is there whole or not at all; a key is never overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = signer.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(staged, path)
    except FileExistsError:
        raise SigningError(
            "key_file_exists",
            f"There is a key at {path} already.",
            field="path",
            value=str(path),
            limit="a file that does not exist yet",
            hint="Take another name, or move the file away.",
        ) from None
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_private_key(path: Path) -> FileSigner:
    """The key in the file. Raises SigningError ``key_file_missing``, ``key_file_unsafe`` where others may read it or
    another user owns it, or ``key_file_unreadable``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        hint = "Put the key back from its backup, or take another."
        raise _build_file_error("key_file_missing", path, "is not there", "missing", hint) from None
    except OSError as error:
        hint = "Run this as the user who owns the key."
        raise _build_file_error("key_file_unreadable", path, "cannot be read", str(error.strerror), hint) from None
    try:
        _require_private(path, os.fstat(descriptor))
        content = os.read(descriptor, MAX_KEY_FILE_BYTES)
    finally:
        os.close(descriptor)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        hint = "Put the key back from its backup."
        raise _build_file_error("key_file_unreadable", path, "holds no such key", "no key of Ed25519 in PEM", hint)
    return FileSigner(key)


def _require_private(path: Path, status: os.stat_result) -> None:
    """Raise SigningError unless it is a file that its owner alone may read, and the owner is this user or root."""
    if not stat.S_ISREG(status.st_mode):
        raise _build_file_error("key_file_unreadable", path, "is no file", oct(status.st_mode), "Name a file.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        hint = f"Run: chmod 600 {path}"
        raise _build_file_error("key_file_unsafe", path, "may be read by others", f"mode {mode:04o}", hint)
    if status.st_uid not in (os.geteuid(), 0):
        hint = f"Run: chown {os.geteuid()} {path}"
        raise _build_file_error("key_file_unsafe", path, "is another user's", f"user {status.st_uid}", hint)


def _build_file_error(code: str, path: Path, what: str, value: str, hint: str) -> SigningError:
    return SigningError(
        code,
        f"The private key {path} {what}.",
        field="path",
        value=value,
        limit="an Ed25519 key as PEM in a file of mode 0600",
        hint=hint,
    )
