"""Machine faults that cost a job no attempt: they end when somebody frees space or remounts a share."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from apps.core.errors import StorageFull, Unavailable
from apps.platform.jobs.errors import node_unusable, scratch_lost, storage_full

STORAGE_FULL = "storage_full"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
OF_DEVICES = frozenset(
    {errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN}
    | {errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
)
OF_FOLDERS = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST})
"""Of a file in the attempt's own folder these may be the engine's doing, which the next attempt would repeat."""


def find_stall(failure: BaseException, *, own: Path, shared: Iterable[Path]) -> dict[str, Any] | None:
    """The error of a job whose attempt `failure` has ended, if that is a fault of the machine; None if it is not.

    `own`: the attempt's folder. `shared`: the folders that every attempt here needs, those of scratch and of the store.
    """
    if isinstance(failure, Unavailable) or (isinstance(failure, StorageFull) and failure.code == STORAGE_FULL):
        return failure.first()
    if not isinstance(failure, OSError):
        return None
    if failure.errno in FULL:
        return storage_full()
    if failure.errno in OF_DEVICES or (failure.errno in OF_FOLDERS and is_shared(failure.filename, own, shared)):
        what = f"{failure.strerror}: {failure.filename}" if failure.filename else failure.strerror
        return node_unusable(str(what))
    return None


def count_bytes(folder: Path) -> int:
    """Bytes that the files of a folder take on its disk."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total


def is_shared(name: object, own: Path, shared: Iterable[Path]) -> bool:
    """Whether a file is the attempt's folder itself, or lies outside of it in a folder that every attempt needs."""
    if not isinstance(name, str | bytes | Path):
        return False
    path = Path(name.decode(errors="replace") if isinstance(name, bytes) else name)
    if path == own:
        return True
    return not path.is_relative_to(own) and any(
        path.is_relative_to(folder) or folder.is_relative_to(path) for folder in shared
    )


def find_engine_stall(
    error: dict[str, Any], *, scratch: Path, disk_is_full: bool, disk_is_short: bool
) -> dict[str, Any] | None:
    """The error of a job whose engine has crashed, if a full disk or the loss of its folder explains it.

    What the engine says is not the whole truth: writing to a mapped file on a full disk ends it by SIGBUS, and what is
    full may be its own /dev/shm, which the next attempt would fill too.
    """
    if disk_is_full or (disk_is_short and error.get("code") == STORAGE_FULL):
        return storage_full()
    if not scratch.is_dir():
        return scratch_lost()
    return None
