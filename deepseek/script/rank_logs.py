"""The output of the ranks of a script, passed on by whole lines.

An unbuffered `print` writes each of its arguments alone, so ranks that share one pipe would write into each other's
lines. torchrun gives each rank files of its own; these are read as they grow.
"""

import ctypes
import os
import threading
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.1
READ_BYTES = 1 << 16
FREED_BYTES = 16 << 20  # read of a file before its blocks are given back: a rank may print for days
KEEP_SIZE, PUNCH_HOLE = 1, 2  # of fallocate(2)


class RankLogs(threading.Thread):
    """Writes what appears below `folder`, where torchrun puts the files of its ranks, to the descriptor `target`."""

    def __init__(self, folder: Path, *, target: int = 1) -> None:
        super().__init__(name="rank-logs", daemon=True)
        self._folder, self._target = folder, target
        self._files: dict[Path, RankFile] = {}
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(POLL_SECONDS):
            self._pass_on()

    def close(self) -> None:
        """The ranks have ended: pass on what is left, the last line without its end too."""
        self._is_over.set()
        if self.is_alive():
            self.join()
        self._pass_on()
        for file in self._files.values():
            self._write(file.rest + b"\n" if file.rest else b"")
            os.close(file.descriptor)
        self._files.clear()

    def _pass_on(self) -> None:
        for path in sorted(self._folder.glob("*/attempt_*/*/std*.log")):
            if path not in self._files:
                with suppress(OSError):  # a link, which torchrun does not make
                    self._files[path] = RankFile(path)
        busy = list(self._files.values())
        while busy:  # in turns: one that prints without end holds up no other
            busy = [file for file in busy if self._write(file.read_lines())]

    def _write(self, data: bytes) -> int:
        """Write all of it, and return how much that is."""
        left = data
        while left:
            left = left[os.write(self._target, left) :]
        return len(data)


class RankFile:
    """One of these files. `rest`: the begin of a line whose end is not there yet."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.rest = b""
        self._path = path
        self._position = self._freed = 0

    def read_lines(self) -> bytes:
        """The next whole lines; empty where there is nothing new. A line that is longer than what is read at once
        comes in parts."""
        while data := os.pread(self.descriptor, READ_BYTES, self._position):
            self._position += len(data)
            self._free()
            lines, end, rest = (self.rest + data).rpartition(b"\n")
            self.rest = rest
            if end or len(rest) > READ_BYTES:
                self.rest = rest if end else b""
                return lines + end if end else rest
        return b""

    def _free(self) -> None:
        if self._position - self._freed < FREED_BYTES:
            return
        self._freed = self._position
        with suppress(OSError), open(self._path, "r+b") as file:  # not every file system can: then it keeps them
            size = ctypes.c_int64(self._position)
            ctypes.CDLL(None).fallocate(file.fileno(), KEEP_SIZE | PUNCH_HOLE, ctypes.c_int64(0), size)
