"""Ciphers and hashes by name: AES-256-GCM with SHA-256, or SM4-GCM with SM3 where a site has to use GB/T algorithms.

AES: NIST SP 800-38D. SM4: GB/T 32907-2016 in the GCM mode of GB/T 17964-2021 (RFC 8998 has vectors). SM3: GB/T
32905-2016.
Whoever encrypts never uses a nonce twice under one key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
TAG_BYTES = 16


class DecryptionError(Exception):
    """The ciphertext, its associated data or its key is not what it was when it was encrypted."""


@dataclass(frozen=True, slots=True)
class Cipher:
    """An AEAD cipher: `encrypt` appends a tag of TAG_BYTES to the ciphertext."""

    name: str
    number: int  # in headers of stored objects: never given to another cipher
    key_bytes: int

    def encrypt(self, key: bytes, nonce: bytes, plain: bytes | memoryview, associated: bytes) -> bytes:
        """Ciphertext and tag. `nonce`: NONCE_BYTES, never used before under `key`."""
        if self.number == AES_256_GCM.number:
            return AESGCM(key).encrypt(nonce, plain, associated)
        encryptor = BlockCipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated)
        return encryptor.update(plain) + encryptor.finalize() + encryptor.tag

    def encrypt_into(
        self, key: bytes, nonce: bytes, plain: bytes | memoryview, associated: bytes, sealed: memoryview
    ) -> None:
        """As `encrypt`, into `sealed`, which has TAG_BYTES more than `plain`."""
        if self.number == AES_256_GCM.number:
            AESGCM(key).encrypt_into(nonce, plain, associated, sealed)
        else:
            sealed[:] = self.encrypt(key, nonce, plain, associated)

    def decrypt(self, key: bytes, nonce: bytes, sealed: bytes | memoryview, associated: bytes) -> bytes:
        """The plain bytes; DecryptionError where the tag does not fit."""
        if len(sealed) < TAG_BYTES:
            raise DecryptionError("shorter than a tag")
        try:
            if self.number == AES_256_GCM.number:
                return AESGCM(key).decrypt(nonce, sealed, associated)
            tag = bytes(sealed[-TAG_BYTES:])
            decryptor = BlockCipher(algorithms.SM4(key), modes.GCM(nonce, tag)).decryptor()
            decryptor.authenticate_additional_data(associated)
            return decryptor.update(sealed[:-TAG_BYTES]) + decryptor.finalize()
        except InvalidTag:
            raise DecryptionError("the tag does not fit") from None

    def derive_key(self, secret: bytes, salt: bytes, purpose: bytes) -> bytes:
        """A key of this cipher from `secret`: HKDF (RFC 5869) with SHA-256, or with SM3 for SM4."""
        algorithm: HashAlgorithm = SHA256() if self.number == AES_256_GCM.number else SM3()
        return HKDF(algorithm=algorithm, length=self.key_bytes, salt=salt, info=purpose).derive(secret)


AES_256_GCM = Cipher("aes-256-gcm", 1, 32)
SM4_GCM = Cipher("sm4-gcm", 2, 16)
CIPHERS = {cipher.name: cipher for cipher in (AES_256_GCM, SM4_GCM)}
CIPHERS_BY_NUMBER = {cipher.number: cipher for cipher in CIPHERS.values()}


def hash_sm3(data: bytes) -> bytes:
    """The SM3 digest of `data`, 32 bytes."""
    content_hash = Hash(SM3())
    content_hash.update(data)
    return content_hash.finalize()


def hash_file_sm3(path: Path) -> str:
    """The SM3 digest of a file, 64 hex digits."""
    content_hash = Hash(SM3())
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            content_hash.update(chunk)
    return content_hash.finalize().hex()
