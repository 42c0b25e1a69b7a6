"""Opening the repository of a destination: a folder, a mount, or an S3-compatible store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings

from apps.site.snapshots.destinations import choose_destination, list_destinations
from deepseek.messages import N_
from deepseek.snapshots.chunking import split_blocks
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.repository import Repository
from deepseek.snapshots.storage import FolderStorage, Storage
from workers.snapshots.plane_key import load_plane_key


def find_address(name: str) -> str:
    """The address of a destination; an address is taken as it is (of a restore, on a plane with no settings yet)."""
    if name.startswith(("s3://", "file://")):
        return name
    if name.startswith("/"):
        return Path(name).as_uri()
    return list_destinations()[choose_destination(name)]


def open_storage(address: str) -> Storage:
    """The place of a repository. Raises SnapshotError where a folder is not there: an unmounted share is no place to
    write to."""
    if address.startswith("s3://"):
        from workers.snapshots.s3_storage import S3Storage  # s3fs is installed only where somebody asks for it

        return S3Storage(
            address.removeprefix("s3://"),
            endpoint=settings.ENV.snapshot_s3_endpoint,
            access_key=settings.ENV.snapshot_s3_access_key,
            secret_key=settings.ENV.snapshot_s3_secret_key.get_secret_value(),
        )
    folder = Path(unquote(urlsplit(address).path))
    if not folder.is_dir():
        raise SnapshotError(
            "snapshot_storage_unavailable",
            "The folder of the repository is not there.",
            field="repository",
            hint=N_("Mount it, or make it: an empty folder that the user of the plane may write to."),
        )
    return FolderStorage(folder)


def open_repository(name: str, recovery_key: bytes | None = None) -> Repository:
    """The repository of a destination, opened with the plane's key or with the recovery key."""
    storage = open_storage(find_address(name))
    if recovery_key is not None:
        return Repository.open(storage, recovery_key=recovery_key, split=split_blocks)
    return Repository.open(storage, plane_key=load_plane_key(), split=split_blocks)
