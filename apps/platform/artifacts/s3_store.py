"""The store in an S3-compatible object store; needs requirements-s3.txt. Keys come from AWS_* variables."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, NoCredentialsError  # type: ignore[import-untyped]
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from apps.core.errors import Unavailable
from apps.platform.artifacts.digests import DIGEST, validate_digest
from apps.platform.artifacts.encryption.data_keys import KeyFiles
from apps.platform.artifacts.store import STALE, Reading, Staging, Store, StoredObject, validate_area_names
from deepseek.messages import N_, Message

log = logging.getLogger(__name__)

PART = 16 << 20  # 10,000 parts are S3's limit: 160 GB for one object; one part is held in memory per upload


@contextmanager
def translate_store_errors() -> Iterator[None]:
    """An object store that does not answer, or does not let us in, is Unavailable; a missing object stays missing."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BotoCoreError, OSError, TimeoutError) as error:
        denied = isinstance(error, PermissionError | NoCredentialsError)
        why = error.__cause__ or error.__context__  # aiobotocore calls a connection that was cut one that was refused
        log.warning("the artifact store: %r, because of %r", error, why)  # the answer tells no addresses
        raise Unavailable(
            Message("The artifact store refuses our keys.")
            if denied
            else Message("The artifact store does not answer."),
            code="store_unreachable",
            hint=N_("The operator must check ARTIFACT_URL, ARTIFACT_S3_ENDPOINT and the AWS_* variables."),
        ) from error


class S3Staging(Staging):
    """A multipart upload, completed only by publish: at its key if the digest is known, else copied there."""

    def __init__(self, store: S3Store, expected_digest: str | None, with_chunks: bool = True) -> None:
        super().__init__(with_chunks=with_chunks and not store.is_area)
        self.store = store
        self.target = expected_digest
        self.key = store.key_of(expected_digest) if expected_digest else f"{store.root}/staging/{secrets.token_hex(16)}"
        with translate_store_errors():
            self.file: Any = store.fs.open(self.key, "wb", block_size=PART, autocommit=False)

    def _append(self, chunk: bytes | memoryview) -> None:
        self._hash.update_chunks(chunk)
        with translate_store_errors():
            self.file.write(chunk)

    def _commit(self, digest: str) -> None:
        if self.store.exists(digest) and not self.overwrites:
            if self.store.size(digest) == self.size and not self._is_damaged(digest):
                self._drop()
                return
            self.replaced = True
        final = self.store.key_of(digest)
        with translate_store_errors():
            self.file.close()  # sends the last part; nothing is visible yet
            if self.target == digest:
                self.file.commit()
                return
            if self.target is not None:
                raise ValueError("published under another digest than the staging was opened for")
            self.file.commit()
            self.store.fs.copy(self.key, final)  # on the server
            self.store.fs.rm_file(self.key)

    def _drop(self) -> None:
        with suppress(OSError, BotoCoreError):  # what stays is swept
            self.file.closed = True  # or the finalizer would flush, and so upload, what is left in the buffer
            self.file.discard()
            if self.target is None and self.store.fs.exists(self.key):
                self.store.fs.rm_file(self.key)


class S3KeyFiles(KeyFiles):
    """Data keys as small objects; S3 replaces an object as a whole."""

    def __init__(self, store: S3Store) -> None:
        self.store, self.prefix = store, f"{store.root}/keys"

    def list_names(self) -> list[str]:
        with translate_store_errors(), suppress(FileNotFoundError):
            return sorted(key.rpartition("/")[2] for key in self.store.fs.ls(self.prefix, detail=False))
        return []

    def read(self, name: str) -> bytes:
        with translate_store_errors():
            return bytes(self.store.fs.cat_file(f"{self.prefix}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        with translate_store_errors():
            self.store.fs.pipe_file(f"{self.prefix}/{name}", data)


class S3Store(Store):
    """`<bucket>/<prefix>/sha256/ab/cdef...`, `.../staging/`, `.../damaged/`. Built lazily: not fork-safe."""

    def __init__(self, root: str, endpoint: str = "") -> None:
        self.root = root.rstrip("/")
        self.endpoint = endpoint
        self._fs: S3FileSystem | None = None

    @property
    def fs(self) -> S3FileSystem:
        if self._fs is None:
            self._fs = S3FileSystem(
                endpoint_url=self.endpoint or None,
                use_listings_cache=False,  # or a process does not see what another one wrote
                skip_instance_cache=True,
                default_block_size=PART,
                config_kwargs={
                    "connect_timeout": 5,
                    "read_timeout": 60,
                    "retries": {"mode": "standard", "max_attempts": 5},
                },
            )
        return self._fs

    def open_inside(self, name: str) -> S3Store:
        """A store below the prefix of this one, by the same client."""
        inside = S3Store(f"{self.root}/{name}", self.endpoint)
        inside._fs = self.fs
        return inside

    def area(self, *names: str) -> Store:
        inside = S3Store("/".join((self.root, *validate_area_names(names))), self.endpoint)
        inside._fs, inside.is_area = self.fs, True
        return inside

    def areas(self) -> list[str]:
        with translate_store_errors(), suppress(FileNotFoundError):
            return sorted(key.rpartition("/")[2] for key in self.fs.ls(self.root, detail=False))
        return []

    def _remove(self, digest: str) -> None:
        with translate_store_errors(), suppress(FileNotFoundError):
            self.fs.rm_file(self.key_of(digest))

    def _clear(self) -> None:
        with translate_store_errors(), suppress(FileNotFoundError):
            self.fs.rm(self.root, recursive=True)

    def key_of(self, digest: str) -> str:
        validate_digest(digest)
        return f"{self.root}/sha256/{digest[:2]}/{digest[2:]}"

    def open_staging(self, expected_digest: str | None = None, *, with_chunks: bool = True) -> Staging:
        return S3Staging(self, expected_digest, with_chunks)

    def open(self, digest: str, start: int = 0, end: int | None = None) -> Reading:
        with translate_store_errors():
            return Reading(self.fs.open(self.key_of(digest), "rb", block_size=PART // 2), start, end)

    def size(self, digest: str) -> int:
        with translate_store_errors():
            return int(self.fs.info(self.key_of(digest))["size"])

    def check(self) -> None:
        with translate_store_errors():
            bucket = self.root.split("/", 1)[0]
            try:
                self.fs.call_s3("head_bucket", Bucket=bucket)
            except FileNotFoundError as error:
                raise OSError(f"no bucket {bucket}") from error

    def objects(self) -> Iterator[StoredObject]:
        with translate_store_errors(), suppress(FileNotFoundError):
            for folder in sorted(self.fs.ls(f"{self.root}/sha256", detail=False)):
                for key, about in sorted(self.fs.find(folder, detail=True).items()):
                    digest = folder.rpartition("/")[2] + key.rpartition("/")[2]
                    if DIGEST.fullmatch(digest):
                        yield StoredObject(digest, int(about["size"]), about["LastModified"].timestamp())

    def touched(self, digest: str) -> float:
        with translate_store_errors():
            return float(self.fs.info(self.key_of(digest))["LastModified"].timestamp())

    def set_aside(self, digest: str) -> None:
        with translate_store_errors(), suppress(FileNotFoundError):
            stamp = int(datetime.now(UTC).timestamp() * 1000)
            self.fs.copy(self.key_of(digest), f"{self.root}/damaged/{digest}.{stamp}")
            self.fs.rm_file(self.key_of(digest))

    def count_set_aside(self) -> int:
        with translate_store_errors(), suppress(FileNotFoundError):
            return len(self.fs.ls(f"{self.root}/damaged", detail=False))
        return 0

    def sweep(self, older_than: timedelta = STALE) -> int:
        oldest = datetime.now(UTC) - older_than
        bucket, _, prefix = self.root.partition("/")
        removed = 0
        with translate_store_errors():
            for upload in self.fs.list_multipart_uploads(bucket):
                if upload["Key"].startswith(prefix) and upload["Initiated"] <= oldest:
                    self.fs.abort_mpu(bucket, upload["Key"], upload["UploadId"])
                    removed += 1
            with suppress(FileNotFoundError):
                for entry in self.fs.ls(f"{self.root}/staging", detail=True):
                    if entry["type"] == "file" and entry["LastModified"] <= oldest:
                        self.fs.rm_file(entry["name"])
                        removed += 1
        return removed
