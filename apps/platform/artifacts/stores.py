"""The store of this process, and what is known of its place: a folder here, or a bucket elsewhere."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings

from apps.platform.artifacts.local_store import LocalStore
from apps.platform.artifacts.store import Store


def get_store() -> Store:
    """The store of this process, as the environment names it. Per process: an S3 client does not survive a fork."""
    return build_store(
        settings.ENV.artifact_url, str(settings.PLANE_HOME), settings.ENV.artifact_s3_endpoint, os.getpid()
    )


def get_store_folder() -> Path | None:
    """The folder of the artifacts on this host; None where they are elsewhere."""
    at = get_store()
    return at.root if isinstance(at, LocalStore) else None


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
