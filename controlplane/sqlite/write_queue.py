"""First-come, first-served queue of writers to an SQLite database.

SQLite itself lets a writer sleep, up to a tenth of a second at a time, and look again: whoever happens to look when the
lock is free gets it, and among thirty writers some wait for seconds. Here the threads of a process line up, and the
first of each process waits for a lock of the file system, which it asks for every millisecond. It only orders them:
SQLite's own lock is what protects the database, so who cannot queue, or has queued for too long, goes on without.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from functools import lru_cache
from pathlib import Path

WAIT_SECONDS = 10.0
ASK_AGAIN_SECONDS = 0.001


class WriteQueue:
    """`enter` before BEGIN IMMEDIATE, `leave` after the end of the transaction; both from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.waiting: deque[threading.Event] = deque()
        self.is_taken = False
        self.file = -1
        self.owner = 0  # process that opened the file

    def enter(self) -> bool:
        """Wait for the turn to write. On False the wait timed out, and `leave` must not be called."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self.lock:
            if not self.is_taken and not self.waiting:
                self.is_taken = True
                first = None
            else:
                first = threading.Event()
                self.waiting.append(first)
        if first is not None and not first.wait(WAIT_SECONDS) and self.leave_line(first):
            return False
        if self.lock_file(deadline):
            return True
        self.leave()
        return False

    def leave_line(self, first: threading.Event) -> bool:
        """Leave the line after waiting in vain; False if the turn came at the last moment."""
        with self.lock:
            if first.is_set():
                return False
            self.waiting.remove(first)
            return True

    def leave(self) -> None:
        with self.lock:
            self.unlock_file()
            if self.waiting:
                self.waiting.popleft().set()  # is_taken stays: the turn passes on
            else:
                self.is_taken = False

    def lock_file(self, deadline: float) -> bool:
        """A lock of this process, which its children do not inherit; False where there can be none, or not in time."""
        if self.owner != os.getpid():
            try:
                self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
            self.owner = os.getpid()
        while True:
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(ASK_AGAIN_SECONDS)
            except OSError:
                return False
            else:
                return True

    def unlock_file(self) -> None:
        if self.owner == os.getpid():
            fcntl.lockf(self.file, fcntl.LOCK_UN)


@lru_cache(maxsize=16)
def get_write_queue(database: str) -> WriteQueue:
    """The one queue that this process has for a database file."""
    return WriteQueue(Path(f"{database}-writers"))


def forget_queues() -> None:
    """In a forked child: threads of the parent, which are not here, may stand in its lines."""
    get_write_queue.cache_clear()


os.register_at_fork(after_in_child=forget_queues)
