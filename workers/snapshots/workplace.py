"""Private folders of a process. The next process removes those whose own was killed: they hold keys and a database."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def open_folder(place: Path, prefix: str) -> Iterator[Path]:
    """An empty folder below `place`; those of this prefix that no process holds any more go first.

    Held by flock, not by the number of a process: containers that share a home count their processes each for itself.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with hold(place):  # none is taken for abandoned between its creation and its lock
        for path in place.glob(f"{prefix}*"):
            remove_abandoned(path)
        temporary = TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True)
        descriptor = os.open(temporary.name, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with temporary as folder:
            yield Path(folder)
    finally:
        os.close(descriptor)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(path: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:  # its process is at work
            pass
        finally:
            os.close(descriptor)
