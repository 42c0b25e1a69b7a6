"""Keys of a repository: one data key, wrapped once for the plane and once for an offline recovery key.

The recovery key is an X25519 pair. Its public half stays in the repository; its private half is printed once and is
stored nowhere. Whoever holds it opens the repository with nothing else of the plane left.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from deepseek.messages import N_
from deepseek.snapshots.errors import SnapshotError

KEY_BYTES = 32
NONCE_BYTES = 12
RECOVERY_PREFIX = "DSRK1"
GROUP = 6  # characters between two hyphens of a printed recovery key
CHECKSUM_BYTES = 3


def derive(secret: bytes, info: bytes, salt: bytes = b"") -> bytes:
    """32 bytes for one purpose (HKDF-SHA-256, RFC 5869)."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt or None, b"deepseek snapshots " + info).derive(secret)


@dataclass(frozen=True, slots=True)
class RepositoryKeys:
    """What is derived of the data key: names of objects tell nothing of the bytes, each object has a key of its own."""

    data_key: bytes
    name_key: bytes
    split_seed: bytes

    @classmethod
    def derive_from(cls, data_key: bytes) -> RepositoryKeys:
        return cls(data_key, derive(data_key, b"names"), derive(data_key, b"splitting"))

    def build_name(self, digest: str) -> str:
        """The name under which bytes of this SHA-256 lie."""
        return hmac.new(self.name_key, digest.encode(), hashlib.sha256).hexdigest()

    def derive_object_key(self, name: str, salt: bytes) -> bytes:
        return derive(self.data_key, b"object " + name.encode(), salt)


def generate_key() -> bytes:
    return os.urandom(KEY_BYTES)


# -- the plane's wrap -----------------------------------------------------------------------------------------------
def compute_key_id(key: bytes) -> str:
    """Names a plane key without telling it."""
    return derive(key, b"key id").hex()[:16]


def wrap_for_plane(data_key: bytes, plane_key: bytes, repository_id: str) -> dict[str, str]:
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(derive(plane_key, b"plane wrap")).encrypt(nonce, data_key, repository_id.encode())
    return {"key_id": compute_key_id(plane_key), "nonce": nonce.hex(), "wrapped": sealed.hex()}


def unwrap_for_plane(wrap: dict[str, Any], plane_key: bytes, repository_id: str) -> bytes:
    """The data key. Raises SnapshotError `snapshot_key_wrong` where the plane's key is another one."""
    return open_wrap(wrap, derive(plane_key, b"plane wrap"), repository_id)


def open_wrap(wrap: dict[str, Any], key: bytes, repository_id: str) -> bytes:
    try:
        return AESGCM(key).decrypt(bytes.fromhex(wrap["nonce"]), bytes.fromhex(wrap["wrapped"]), repository_id.encode())
    except (InvalidTag, ValueError, KeyError, TypeError):
        raise build_wrong_key_error() from None


def build_wrong_key_error() -> SnapshotError:
    return SnapshotError(
        "snapshot_key_wrong",
        "This key does not open the repository.",
        field="key",
        limit="the key of the plane that made it, or its recovery key",
        hint=N_("Give the recovery key that was printed when the repository was prepared: --recovery-key-file."),
    )


# -- the recovery key -----------------------------------------------------------------------------------------------
def generate_recovery_key() -> tuple[str, bytes]:
    """A new recovery key: its printed form, to be written down, and its public half."""
    private = X25519PrivateKey.generate()
    return format_recovery_key(private.private_bytes_raw()), private.public_key().public_bytes_raw()


def format_recovery_key(private: bytes) -> str:
    checksum = hashlib.sha256(private).digest()[:CHECKSUM_BYTES]
    letters = base64.b32encode(private + checksum).decode().rstrip("=")
    groups = [letters[start : start + GROUP] for start in range(0, len(letters), GROUP)]
    return "-".join([RECOVERY_PREFIX, *groups])


def parse_recovery_key(text: str) -> bytes:
    """The private half. Raises SnapshotError `recovery_key_malformed` for anything mistyped."""
    letters = "".join(text.upper().replace("-", " ").split())
    body = letters.removeprefix(RECOVERY_PREFIX)
    try:
        raw = base64.b32decode(body + "=" * (-len(body) % 8))
    except (binascii.Error, ValueError):
        raw = b""
    private, checksum = raw[:KEY_BYTES], raw[KEY_BYTES:]
    is_sound = len(raw) == KEY_BYTES + CHECKSUM_BYTES and hashlib.sha256(private).digest()[:CHECKSUM_BYTES] == checksum
    if not letters.startswith(RECOVERY_PREFIX) or not is_sound:
        raise SnapshotError(
            "recovery_key_malformed",
            "This is no recovery key, or a letter of it is mistyped.",
            field="recovery_key",
            limit=f"{RECOVERY_PREFIX}-...",
            hint=N_("Type it as it was printed; case and spaces do not matter."),
        )
    return private


def wrap_for_recovery(data_key: bytes, public: bytes, repository_id: str) -> dict[str, str]:
    """Wrap for whoever holds the private half: an ephemeral X25519 key agreement, HKDF, AES-256-GCM."""
    ephemeral = X25519PrivateKey.generate()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    nonce = os.urandom(NONCE_BYTES)
    key = derive(shared, b"recovery wrap", ephemeral_public + public)
    sealed = AESGCM(key).encrypt(nonce, data_key, repository_id.encode())
    return {
        "public_key": public.hex(),
        "ephemeral_key": ephemeral_public.hex(),
        "nonce": nonce.hex(),
        "wrapped": sealed.hex(),
    }


def unwrap_for_recovery(wrap: dict[str, Any], private: bytes, repository_id: str) -> bytes:
    """The data key. Raises SnapshotError `snapshot_key_wrong` for another recovery key."""
    own = X25519PrivateKey.from_private_bytes(private)
    try:
        ephemeral = bytes.fromhex(wrap["ephemeral_key"])
        shared = own.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    except (ValueError, KeyError, TypeError):
        raise build_wrong_key_error() from None
    return open_wrap(
        wrap, derive(shared, b"recovery wrap", ephemeral + own.public_key().public_bytes_raw()), repository_id
    )
