"""The data keys of an encrypted store: kept in the store beside the objects, each wrapped by a key of ENCRYPTION_KEYS.

So store and ENCRYPTION_KEYS are enough to read everything, whatever happens to the database; and a new key of the
operator only wraps these few again, however many objects there are. Files never go: what is old still decrypts.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

from apps.core.encryption.ciphers import CIPHERS, NONCE_BYTES, Cipher, DecryptionError
from apps.core.encryption.key_ring import KeyMissing, KeyRing
from apps.core.errors import Unavailable
from apps.platform.artifacts.encryption.objects import ID_BYTES, DataKey
from deepseek.messages import N_

WRAPPING = b"plane/store-data-key/v1"


class KeyFiles(ABC):
    """Small files beside the objects, each replaced as a whole."""

    @abstractmethod
    def list_names(self) -> list[str]: ...

    @abstractmethod
    def read(self, name: str) -> bytes: ...

    @abstractmethod
    def write(self, name: str, data: bytes) -> None: ...


class LocalKeyFiles(KeyFiles):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def list_names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.json"))

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.folder / f"{name}.{secrets.token_hex(4)}"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            os.replace(fresh, self.folder / name)
        finally:
            fresh.unlink(missing_ok=True)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class DataKeys:
    """The data keys of one store, unwrapped as they are needed and kept in memory."""

    def __init__(self, files: KeyFiles, key_ring: KeyRing, cipher: Cipher | None) -> None:
        self.files, self.key_ring, self.cipher = files, key_ring, cipher
        self.unwrapped: dict[str, DataKey] = {}
        self.newest: str | None = None

    def get_active(self) -> DataKey:
        """The newest key of the configured cipher; the first use of a cipher makes one."""
        if self.cipher is None:
            raise ValueError("STORE_ENCRYPTION is off")
        if self.newest is None:
            documents = [(document, key_id) for key_id, document in self.list_documents()]
            of_cipher = [
                (float(doc["created_at"]), key_id) for doc, key_id in documents if doc["cipher"] == self.cipher.name
            ]
            self.newest = max(of_cipher)[1] if of_cipher else self.create().id.hex()
        return self.find(bytes.fromhex(self.newest))

    def create(self) -> DataKey:
        """A new data key, which is the active one from now on; other processes use it once they start again."""
        if self.cipher is None:
            raise ValueError("STORE_ENCRYPTION is off")
        data_key = DataKey(secrets.token_bytes(ID_BYTES), self.cipher, secrets.token_bytes(32))
        self._write(data_key, time.time())
        self.unwrapped[data_key.id.hex()] = data_key
        self.newest = data_key.id.hex()
        return data_key

    def find(self, key_id: bytes) -> DataKey:
        """The data key of an object. Unavailable (`store_key_missing`) where nothing configured unwraps it."""
        name = key_id.hex()
        if name not in self.unwrapped:
            try:
                document = self._read(name)
            except FileNotFoundError:
                raise build_key_error(name) from None
            self.unwrapped[name] = self._unwrap(name, document)
        return self.unwrapped[name]

    def rewrap(self) -> int:
        """Wrap every data key by the first of ENCRYPTION_KEYS; how many were wrapped by another."""
        changed = 0
        for key_id, document in self.list_documents():
            if document["wrapped_by"] != self.key_ring.active.id:
                self._write(self._unwrap(key_id, document), float(document["created_at"]))
                changed += 1
        return changed

    def list_documents(self) -> list[tuple[str, dict[str, Any]]]:
        """(id, document) of each key: when it was created, its cipher, and which key wraps it."""
        names = [name.removesuffix(".json") for name in self.files.list_names()]
        documents = []
        for name in names:
            with suppress(FileNotFoundError):
                documents.append((name, self._read(name)))
        return documents

    def _read(self, name: str) -> dict[str, Any]:
        document = json.loads(self.files.read(f"{name}.json"))
        if not isinstance(document, dict):
            raise build_key_error(name)
        return document

    def _unwrap(self, name: str, document: dict[str, Any]) -> DataKey:
        cipher = CIPHERS[document["cipher"]]
        try:
            wrapping = self.key_ring.get_key(document["wrapped_by"])
            key = cipher.derive_key(wrapping.secret, bytes.fromhex(name), WRAPPING)
            sealed = base64.b64decode(document["key"])
            associated = f"{name} {cipher.name}".encode()
            secret = cipher.decrypt(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except (KeyMissing, DecryptionError):
            raise build_key_error(str(document["wrapped_by"])) from None
        return DataKey(bytes.fromhex(name), cipher, secret)

    def _write(self, data_key: DataKey, created_at: float) -> None:
        name, cipher, wrapping = data_key.id.hex(), data_key.cipher, self.key_ring.active
        key = cipher.derive_key(wrapping.secret, data_key.id, WRAPPING)
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + cipher.encrypt(key, nonce, data_key.secret, f"{name} {cipher.name}".encode())
        document = {
            "created_at": created_at,
            "cipher": cipher.name,
            "wrapped_by": wrapping.id,
            "key": base64.b64encode(sealed).decode(),
        }
        self.files.write(f"{name}.json", json.dumps(document, indent=1).encode())


def build_key_error(key_id: str) -> Unavailable:
    return Unavailable(
        "The artifact store is encrypted under the key {key_id}, which this process does not have.",
        key_id=key_id,
        code="store_key_missing",
        field="ENCRYPTION_KEYS",
        hint=N_("Add the former key to ENCRYPTION_KEYS, after the one in use."),
    )
