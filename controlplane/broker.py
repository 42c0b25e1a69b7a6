"""The embedded broker: kombu's file transport, with messages that appear whole or not at all.

The stock `_put` opens the final name first and writes then: a reader that meets the empty file loses the message
and its worker dies. The stock `_get` moves the file across file systems, which is a copy. Here a message is
written aside and renamed, and taken by renaming it. The exchange tables are read and written under one lock, for
they too are visible while empty. What a crash or a power cut left half-written is dropped: a doorbell may be lost.

The folders hold nothing that cannot be made again: any process that misses one makes it, and writes down the bindings
that it has declared. A folder that cannot be used is an empty queue to a worker, which must outlive it.
"""

import fcntl
import logging
import os
import threading
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from time import monotonic, time_ns

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)


COMPLAINT_SECONDS = 30.0  # between two log lines about a folder that cannot be used: it is polled 20 times a second


class Channel(filesystem.Channel):
    _binding = threading.Lock()
    _complained_at = -COMPLAINT_SECONDS  # by any channel of this process

    def queue_bind(self, *args, **kwargs):
        """Bind under a lock: the state shared by all connections says "bound" before the table on disk does.

        Without it, a thread in between would take the binding as done, and its messages would reach nobody.
        """
        with self._binding:
            super().queue_bind(*args, **kwargs)

    def _put(self, queue, payload, **kwargs):
        name = f"{time_ns():020d}_{uuid.uuid4().hex}.{queue}.msg"
        content = dumps(payload).encode()
        try:
            self._write_message(name, content)
        except FileNotFoundError:
            self._restore_folders()
            self._write_message(name, content)

    def _write_message(self, name, content):
        folder = Path(self.data_folder_out)
        staged = folder / f".{name}.staged"
        try:
            staged.write_bytes(content)
            os.rename(staged, folder / name)
        except OSError:  # a full disk
            with suppress(OSError):
                staged.unlink(missing_ok=True)
            raise

    def _get(self, queue):
        folder = Path(self.data_folder_in)
        for name in self._list_messages(queue):
            claimed = folder / f".{name}.taken"
            try:
                os.rename(folder / name, claimed)
                content = claimed.read_bytes()
                claimed.unlink()
            except FileNotFoundError:
                continue  # another consumer was faster, or the folder went away
            except OSError as failure:
                self._complain(failure)
                break
            try:
                return loads(content.decode())
            except ValueError:
                log.warning("the message %s is not whole; it is dropped", name)
        raise Empty

    def _list_messages(self, queue):
        """List a queue's message names, oldest first. Creates a missing folder; an unusable folder has no messages."""
        try:
            if not self.control_folder.is_dir():
                self._restore_folders()
            names = self._list_folder()
        except OSError as failure:
            self._complain(failure)
            return []
        return sorted(name for name in names if name.partition(".")[2] == f"{queue}.msg")

    def _list_folder(self):
        try:
            return os.listdir(self.data_folder_in)
        except FileNotFoundError:
            self._restore_folders()
            return os.listdir(self.data_folder_in)

    def _size(self, queue):
        return len(self._list_messages(queue))

    def _purge(self, queue):
        names = self._list_messages(queue)
        for name in names:
            Path(self.data_folder_in, name).unlink(missing_ok=True)
        return len(names)

    def _restore_folders(self):
        """Make the folders that are missing, and write the tables of the bindings that this process has declared."""
        for folder in (self.data_folder_in, self.data_folder_out, self.control_folder):
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        for exchange in {key.exchange for key in list(self.state.bindings)}:
            self._restore_table(exchange)

    def _restore_table(self, exchange):
        for meta in list(self.state.exchanges.get(exchange, {}).get("table", ())):
            self._queue_bind(exchange, *meta)

    def _complain(self, failure):
        now = monotonic()
        if now - Channel._complained_at >= COMPLAINT_SECONDS:
            Channel._complained_at = now
            log.warning("the folder of the broker cannot be used: %s", failure)

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
        """The bindings of an exchange; where its table is gone, those that this process has declared."""
        if not self._exchange_file(exchange).exists():
            self._restore_table(exchange)
        with self._tables():
            try:
                return super().get_table(exchange)
            except ValueError:
                return []


def remove_stale(folder: Path) -> None:
    """Remove partial files of killed processes; only for a launcher that is alone in its home."""
    for pattern in (".*.staged", ".*.taken"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


class AtomicFilesystemTransport(filesystem.Transport):
    Channel = Channel
