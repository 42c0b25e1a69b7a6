"""The embedded broker: kombu's file transport, with messages that appear whole or not at all.

The stock `_put` opens the final name first and writes then: a reader that meets the empty file loses the message
and its worker dies. The stock `_get` moves the file across file systems, which is a copy. Here a message is
written aside and renamed, and taken by renaming it. The exchange tables are read and written under one lock, for
they too are visible while empty. What a crash or a power cut left half-written is dropped: a doorbell may be lost.
"""

import fcntl
import logging
import os
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from time import time_ns

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    _binding = threading.Lock()

    def queue_bind(self, *args, **kwargs):
        """One thread at a time: what all connections share says "bound" before the table on the disk does.

        A thread that came in between took the binding for made, and its messages went to nobody.
        """
        with self._binding:
            super().queue_bind(*args, **kwargs)

    def _put(self, queue, payload, **kwargs):
        folder = Path(self.data_folder_out)
        name = f"{time_ns():020d}_{uuid.uuid4().hex}.{queue}.msg"
        staged = folder / f".{name}.staged"
        try:
            staged.write_bytes(dumps(payload).encode())
            os.rename(staged, folder / name)
        except OSError:  # a full disk
            staged.unlink(missing_ok=True)
            raise

    def _get(self, queue):
        folder = Path(self.data_folder_in)
        for name in sorted(name for name in os.listdir(folder) if name.partition(".")[2] == f"{queue}.msg"):
            taken = folder / f".{name}.taken"
            try:
                os.rename(folder / name, taken)
            except FileNotFoundError:
                continue  # another consumer was faster
            content = taken.read_bytes()
            taken.unlink()
            try:
                return loads(content.decode())
            except ValueError:
                log.warning("the message %s is not whole; it is dropped", name)
        raise Empty

    @contextmanager
    def _tables(self):
        self.control_folder.mkdir(parents=True, exist_ok=True)
        with (self.control_folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _queue_bind(self, *args):
        with self._tables():
            try:
                super()._queue_bind(*args)
            except ValueError:
                self._exchange_file(args[0]).unlink()
                super()._queue_bind(*args)

    def get_table(self, exchange):
        with self._tables():
            try:
                return super().get_table(exchange)
            except ValueError:
                return []


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-way; for a launcher that is alone in its home."""
    for pattern in (".*.staged", ".*.taken"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


class AtomicFilesystemTransport(filesystem.Transport):
    Channel = Channel
