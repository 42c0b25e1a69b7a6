"""Removing the scratch of an attempt, after its bytes were overwritten where the site asks for that."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from pathlib import Path

log = logging.getLogger(__name__)
ZEROS = bytes(1 << 20)


def remove_scratch(folder: Path, *, overwrite: bool) -> None:
    """Remove the folder with all that is in it; never raises. Its processes have ended.

    `overwrite`: each file's bytes are replaced by zeros on the disk before. On a file system that copies on write
    (btrfs, ZFS), and on flash, the former blocks may stay: there the disk has to be encrypted.
    """
    if overwrite and folder.is_dir() and not folder.is_symlink():
        try:
            overwrite_files(folder)
        except OSError:
            log.exception("not every file of %s could be overwritten", folder)
    shutil.rmtree(folder, ignore_errors=True)


def overwrite_files(folder: Path) -> None:
    """Overwrite the regular files below `folder` that have no other name, following no link."""
    for _root, _folders, names, handle in os.fwalk(folder, follow_symlinks=False):
        for name in names:
            about = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISREG(about.st_mode) and about.st_nlink == 1:  # another name may be the store's, or a cache's
                overwrite_file(name, handle, about)


def overwrite_file(name: str, folder: int, about: os.stat_result) -> None:
    if not about.st_mode & stat.S_IWUSR:
        os.chmod(name, about.st_mode | stat.S_IWUSR, dir_fd=folder)
    file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        left = about.st_size
        while left:
            left -= os.write(file, ZEROS[:left])
        os.fdatasync(file)
    finally:
        os.close(file)
