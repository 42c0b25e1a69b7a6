"""The Ed25519 key that signs checkpoints and exports: a file in the home, never in the database, never in a log."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

from apps.core.errors import Unavailable
from apps.platform.audit.verifier.verify import key_id_of
from deepseek.messages import Message

SigningKey = Ed25519PrivateKey


def get_private_key_path() -> Path:
    return Path(settings.PLANE_HOME) / "keys" / "audit_ed25519.pem"


def get_public_key_path() -> Path:
    return get_private_key_path().with_suffix(".pub.pem")


def load_signing_key(*, make: bool) -> SigningKey | None:
    """The key of this home. `make` it where there is none, once; else None where there is none.

    A machine that joins a plane whose chain is already signed must not make a second key: it is given the file.
    """
    path = get_private_key_path()
    if not path.exists():
        if not make:
            return None
        place(path, generate_key_pem(), 0o600)
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, SigningKey):
        raise ValueError(f"{path} is not an Ed25519 key")
    if not get_public_key_path().exists():
        place(get_public_key_path(), encode_public_pem(key), 0o644)
    return key


def require_key(*, make: bool) -> SigningKey:
    key = load_signing_key(make=make)
    if key is None:
        raise Unavailable(
            "The key that signs the audit trail is not on this machine.",
            code="audit_key_missing",
            hint=Message(
                "Export on the machine of the dispatcher, or put the key at {private_path}.",
                private_path=get_private_key_path(),
            ),
        )
    return key


def read_public_pem() -> bytes | None:
    """The public key, from the private one where it is here, else from the file beside it; None where neither is."""
    key = load_signing_key(make=False)
    if key is not None:
        return encode_public_pem(key)
    return get_public_key_path().read_bytes() if get_public_key_path().exists() else None


def generate_key_pem() -> bytes:
    return SigningKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encode_public_pem(key: SigningKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def compute_key_id(key: SigningKey) -> str:
    return key_id_of(key.public_key())


def place(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must exist whole or not at all; if two processes race, the first one's file stands."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
