"""A repository of snapshots in an S3-compatible store; needs requirements-s3.txt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from deepseek.snapshots.storage import READ_BYTES, Storage, validate_name
from workers.snapshots.s3_errors import translate_errors
from workers.snapshots.s3_lease import S3Lease

PART = 16 << 20
ATTEMPTS = 5


class S3Storage(Storage):
    """`<bucket>/<prefix>/<name>`. An upload is visible when it is complete, so nothing lies in staging."""

    def __init__(
        self, root: str, *, endpoint: str = "", access_key: str = "", secret_key: str = "", attempts: int = ATTEMPTS
    ) -> None:
        self.root = root.rstrip("/")
        self.lease: S3Lease | None = None  # while this process holds it
        self.fs = S3FileSystem(
            key=access_key or None,
            secret=secret_key or None,
            endpoint_url=endpoint or None,
            use_listings_cache=False,
            skip_instance_cache=True,
            default_block_size=PART,
            config_kwargs={
                "connect_timeout": 5,
                "read_timeout": 60,
                "retries": {"mode": "standard", "max_attempts": attempts},
            },
        )

    def read(self, name: str) -> Iterator[bytes]:
        with translate_errors():
            file = self.fs.open(f"{self.root}/{validate_name(name)}", "rb", block_size=PART // 2)
        return self.iter_chunks(file)

    def iter_chunks(self, file: Any) -> Iterator[bytes]:
        with file, translate_errors():
            while chunk := file.read(READ_BYTES):
                yield chunk

    def write(self, name: str, chunks: Iterable[bytes]) -> int:
        self.confirm_lease()
        with translate_errors():
            file = self.fs.open(f"{self.root}/{validate_name(name)}", "wb", block_size=PART, autocommit=False)
        size = 0
        try:
            for chunk in chunks:
                with translate_errors():
                    size += file.write(chunk)
        except BaseException:
            with suppress(OSError, BotoCoreError):
                file.closed = True  # or the finalizer would upload what is left in the buffer
                file.discard()
            raise
        self.confirm_lease()
        with translate_errors():
            file.close()
            file.commit()
        return size

    def flush(self) -> None:
        """Every write is durable when it returns."""

    def list_names(self, prefix: str) -> Iterator[tuple[str, int]]:
        with translate_errors(), suppress(FileNotFoundError):
            for key, about in self.fs.find(f"{self.root}/{prefix}", detail=True).items():
                yield key.removeprefix(f"{self.root}/"), int(about["size"])

    def delete(self, name: str) -> None:
        self.confirm_lease()
        with translate_errors(), suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.root}/{validate_name(name)}")

    def sweep(self) -> None:
        """Uploads that were never completed are the bucket's to expire: a rule of its lifecycle."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """By a lease in the store. It runs out when the process that holds it is gone."""
        lease = S3Lease(self.fs, f"{self.root}/lock")
        lease.acquire()
        self.lease = lease
        try:
            yield
        finally:
            self.lease = None
            lease.release()

    def confirm_lease(self) -> None:
        if self.lease is not None:
            self.lease.confirm()
