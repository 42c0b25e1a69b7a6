"""Removing the scratch of an attempt, after its bytes were overwritten where the site asks for that."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)
ZEROS = bytes(1 << 20)


def remove_scratch(folder: Path, *, overwrite: bool) -> None:
    """Remove the folder with all that is in it; never raises. Its processes have ended.

    `overwrite`: each file's bytes are replaced by zeros on the disk before. On a file system that copies on write
    (btrfs, ZFS), and on flash, the former blocks may stay: there the disk has to be encrypted.
    """
    if os.path.isdir(folder) and not os.path.islink(folder):  # Path's raise where its file system is away
        open_folders(folder)
        if overwrite:
            overwrite_files(folder)
    shutil.rmtree(folder, ignore_errors=True)


def open_folders(folder: Path) -> None:
    """Let the owner into every folder again: a job may have closed one, and what is in it would stay."""
    todo = [folder]
    while todo:
        place = todo.pop()
        try:
            mode = stat.S_IMODE(place.stat(follow_symlinks=False).st_mode)
            if mode & stat.S_IRWXU != stat.S_IRWXU:
                place.chmod(mode | stat.S_IRWXU)
            with os.scandir(place) as entries:
                todo += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as fault:
            log.warning("a folder of %s cannot be opened: %s", folder, fault.strerror)


def overwrite_files(folder: Path) -> None:
    """Overwrite the regular files below `folder` all of whose names are in it, following no link.

    A file that has another name elsewhere may be the store's, or a cache's.
    """
    names = Counter((about.st_dev, about.st_ino) for _, _, about in iter_files(folder))
    for name, handle, about in iter_files(folder):
        if names[about.st_dev, about.st_ino] < about.st_nlink:
            continue
        try:
            overwrite_file(name, handle, about)
        except OSError as fault:
            log.warning("a file of %s cannot be overwritten: %s", folder, fault.strerror)


def iter_files(folder: Path) -> Iterator[tuple[str, int, os.stat_result]]:
    """(name, descriptor of its folder, status) of each regular file."""
    for _root, _folders, names, handle in os.fwalk(folder, follow_symlinks=False):
        for name in names:
            try:
                about = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode):
                yield name, handle, about


def overwrite_file(name: str, folder: int, about: os.stat_result) -> None:
    if not about.st_mode & stat.S_IWUSR:
        os.chmod(name, about.st_mode | stat.S_IWUSR, dir_fd=folder)
    file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        for start, end in iter_data(file, about.st_size):
            os.lseek(file, start, os.SEEK_SET)
            left = end - start
            while left:
                left -= os.write(file, ZEROS[:left])
        os.fdatasync(file)
    finally:
        os.close(file)


def iter_data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what lies on the disk: written over, the holes of a sparse file would fill it."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as fault:
            if fault.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = os.lseek(file, start, os.SEEK_HOLE)
        yield start, end
