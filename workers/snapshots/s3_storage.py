"""A repository of snapshots in an S3-compatible store; needs requirements-s3.txt."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError, NoCredentialsError  # type: ignore[import-untyped]
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from deepseek.messages import N_, Message
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.storage import READ_BYTES, Storage, validate_name

log = logging.getLogger(__name__)

PART = 16 << 20
ATTEMPTS = 5


@contextmanager
def translate_errors() -> Iterator[None]:
    """A store that is away or lets nobody in is SnapshotError; a missing object stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BotoCoreError, OSError, TimeoutError) as error:
        log.warning("the store of snapshots: %r, because of %r", error, error.__cause__ or error.__context__)
        is_denied = isinstance(error, PermissionError | NoCredentialsError)
        raise SnapshotError(
            "snapshot_storage_unavailable",
            Message("The store of the snapshots refuses the keys.")
            if is_denied
            else Message("The store of the snapshots does not answer."),
            field="repository",
            hint=N_("The operator must check SNAPSHOT_DESTINATIONS and the SNAPSHOT_S3_* settings."),
        ) from error


class S3Storage(Storage):
    """`<bucket>/<prefix>/<name>`. An upload is visible when it is complete, so nothing lies in staging."""

    def __init__(
        self, root: str, *, endpoint: str = "", access_key: str = "", secret_key: str = "", attempts: int = ATTEMPTS
    ) -> None:
        self.root = root.rstrip("/")
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
        with translate_errors(), suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.root}/{validate_name(name)}")

    def sweep(self) -> None:
        """Uploads that were never completed are the bucket's to expire: a rule of its lifecycle."""
