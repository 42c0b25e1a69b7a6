"""Places: numbers that tell apart the attempts that run on a machine at once. A place decides user and link.

Workers of several planes, or several workers of one plane, may share a machine, and with it the numbers of users and
the names of network devices. Each place is therefore a lock that all of them see. The shim holds it as well: should its
worker be killed, the place is taken until the last of the attempt is gone and its link is removed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apps.core.errors import Unavailable
from deepseek.messages import N_

log = logging.getLogger(__name__)

MAX_PLACES = 1024  # attempts of a machine at once, at most; the settings allow 256 for a worker
MACHINE_LOCKS = Path("/run/lock/deepseek-plane")
"""One lock file for each place. Only root's attempts have users and links of their own, so only root takes locks."""

_guard = threading.Lock()
_taken: set[int] = set()  # by this worker


@dataclass(frozen=True, slots=True)
class AttemptSlot:
    """`lock`: the descriptor that holds the place against other workers, where this one is root."""

    number: int
    lock: int | None = None


@contextmanager
def take_place() -> Iterator[AttemptSlot]:
    """A place that no other attempt of this machine has at the time."""
    with _guard:
        place = lock_free_place()
        _taken.add(place.number)
    try:
        yield place
    finally:
        with _guard:
            _taken.discard(place.number)
            if place.lock is not None:
                os.close(place.lock)


def lock_free_place() -> AttemptSlot:
    """The first place that neither this worker nor another one of the machine has."""
    folder = find_lock_folder()
    for number in range(MAX_PLACES):
        if number in _taken:
            continue
        if folder is None:
            return AttemptSlot(number)
        lock = os.open(folder / str(number), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        except BaseException:
            os.close(lock)
            raise
        else:
            return AttemptSlot(number, lock)
    raise Unavailable(
        "All {max_places} places for jobs on this machine are taken.",
        max_places=MAX_PLACES,
        code="worker_fault",
        limit=MAX_PLACES,
        hint=N_("Let fewer jobs run at once on this machine, over all of its workers."),
    )


def find_lock_folder() -> Path | None:
    """Where the machine's workers take their places; the plane's home if the machine's folder cannot be used."""
    if os.geteuid() != 0:
        return None
    if is_own_folder(MACHINE_LOCKS):
        return MACHINE_LOCKS
    folder = Path(settings.PLANE_HOME) / "places"
    log.warning("%s cannot be used: jobs are told apart from those of this home alone, by %s", MACHINE_LOCKS, folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def is_own_folder(folder: Path) -> bool:
    """Whether the folder is root's own and writable; created if missing.

    Anybody may write to /run/lock: a folder or a link that somebody else made there is not used.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = folder.lstat()
        return stat.S_ISDIR(info.st_mode) and info.st_uid == 0 and os.access(folder, os.W_OK)
    return False
