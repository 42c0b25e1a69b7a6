"""The store of this process, and what is known of its place: a folder here, or a bucket elsewhere."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from django.conf import settings
from pydantic import SecretStr

from apps.core.encryption.ciphers import CIPHERS
from apps.core.encryption.key_ring import KeyRing, parse_keys
from apps.platform.artifacts.encryption.data_keys import DataKeys, KeyFiles, LocalKeyFiles
from apps.platform.artifacts.encryption.store import EncryptedStore
from apps.platform.artifacts.local_store import LocalStore
from apps.platform.artifacts.store import Store

ENCRYPTED = "encrypted"


def get_store() -> Store:
    """The store of this process, as the environment names it. Per process: an S3 client does not survive a fork."""
    env = settings.ENV
    base = build_store(env.artifact_url, str(settings.PLANE_HOME), env.artifact_s3_endpoint, os.getpid())
    if not env.encryption_keys:
        return base
    return build_encrypted_store(base, tuple(env.encryption_keys), env.store_encryption)


def get_store_folder() -> Path | None:
    """The folder of the artifacts on this host; None where they are elsewhere."""
    at = get_store()
    base = at.plain if isinstance(at, EncryptedStore) else at
    return base.root if isinstance(base, LocalStore) else None


def get_store_space() -> tuple[int, int] | None:
    """(size, bytes in use) of the disk that the store's folder is on; None where it is no folder, or not there."""
    folder = get_store_folder()
    while folder is not None and folder != folder.parent:
        try:
            space = os.statvfs(folder)
        except FileNotFoundError:  # the store makes its folder with the first object
            folder = folder.parent
            continue
        except OSError:
            return None
        return space.f_blocks * space.f_frsize, (space.f_blocks - space.f_bfree) * space.f_frsize
    return None


@lru_cache(maxsize=8)
def build_store(url: str, home: str, endpoint: str, pid: int) -> Store:
    if url.startswith("s3://"):
        from apps.platform.artifacts.s3_store import S3Store  # s3fs is installed only where ARTIFACT_URL asks for it

        return S3Store(url.removeprefix("s3://"), endpoint)
    return LocalStore(Path(unquote(urlsplit(url).path)) if url else Path(home) / "artifacts")


@lru_cache(maxsize=8)
def build_encrypted_store(plain: Store, entries: tuple[SecretStr, ...], cipher_name: str) -> EncryptedStore:
    """The store that encrypts what comes into `plain`; with the cipher "off" it only reads what is encrypted there."""
    key_ring = KeyRing(parse_keys([entry.get_secret_value() for entry in entries]))
    if isinstance(plain, LocalStore):
        encrypted: Store = LocalStore(plain.root / ENCRYPTED)
        files: KeyFiles = LocalKeyFiles(plain.root / ENCRYPTED / "keys")
    else:
        from apps.platform.artifacts.s3_store import S3KeyFiles, S3Store

        encrypted = cast(S3Store, plain).open_inside(ENCRYPTED)
        files = S3KeyFiles(encrypted)
    return EncryptedStore(plain, encrypted, DataKeys(files, key_ring, CIPHERS.get(cipher_name)))
