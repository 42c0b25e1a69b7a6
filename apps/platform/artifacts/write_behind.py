"""Large files on two cores: what makes the bytes goes on while a thread writes those before, and one sends them to
the disk.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

PIECES = 4  # that may wait to be written, so that memory stays bounded
FLUSHED = 128 << 20  # bytes between two flushes that run beside the writing: the last one finds little to do


class WriteBehind:
    """Appends to the file `fd` in a thread of its own, which then hands each piece to `then`; what goes wrong there is
    raised by a later `write`, or `wait`.

    Whoever closes `fd` calls `stop` before: another file may get its number.
    """

    def __init__(self, fd: int, then: Callable[[bytes | memoryview], None] = lambda piece: None) -> None:
        self.fd, self.then = fd, then
        self.flushing = Flushing()
        self.thread = ThreadPoolExecutor(1, "write-behind")
        self.pieces: deque[Future[None]] = deque()

    def write(self, piece: bytes | memoryview) -> None:
        """Have `piece` appended; waits where PIECES are waiting already. OSError of an earlier one."""
        if len(self.pieces) == PIECES:
            self.pieces.popleft().result()
        self.pieces.append(self.thread.submit(self._write, piece))

    def wait(self) -> None:
        """Until every piece is in the file, though not yet on the disk."""
        while self.pieces:
            self.pieces.popleft().result()
        self.flushing.wait()

    def stop(self) -> None:
        """Drop what is not written yet, and end the threads."""
        self.thread.shutdown(cancel_futures=True)
        self.flushing.stop()

    def _write(self, piece: bytes | memoryview) -> None:
        write_all(self.fd, memoryview(piece))
        self.flushing.wrote(self.fd, len(piece))
        self.then(piece)


class Flushing:
    """Sends a file that is being written to the disk now and then, beside the writing; as a context it ends that."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, "flushing")
        self.since = 0
        self.last: Future[None] | None = None

    def wrote(self, fd: int, count: int) -> None:
        """Record that `count` more bytes were written to `fd`.

        Raises the OSError of an earlier flush: the system reports it only once, so the final flush would miss it.
        """
        self.since += count
        if self.since >= FLUSHED and (self.last is None or self.last.done()):
            self.wait()
            self.last, self.since = self.thread.submit(os.fdatasync, fd), 0

    def wait(self) -> None:
        """Until the flush that runs has ended; OSError if the last one failed."""
        if self.last is not None:
            self.last.result()

    def stop(self) -> None:
        self.thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def write_all(target: int, data: memoryview) -> None:
    while data:
        data = data[os.write(target, data) :]
