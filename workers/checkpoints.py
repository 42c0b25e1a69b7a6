"""The checkpoints of one attempt: stored while its engine goes on, and staged for the attempt that follows."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from django.db import Error as DatabaseError

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.platform.artifacts.store import CHUNK
from apps.platform.jobs.checkpoints import get_checkpoint_area, record_checkpoint
from apps.platform.jobs.models import Job, JobCheckpoint
from workers.outputs import stage_bytes
from workers.relay import Relay

log = logging.getLogger(__name__)

SLOT = "checkpoint"
CLOSE_SECONDS = 2.0  # a store that does not answer must not hold up a cancel


class CheckpointUpload(threading.Thread):
    """One checkpoint on its way into the store. Nobody waits for it, and it may take long."""

    def __init__(self, job: Job, file: BinaryIO, step: int) -> None:
        super().__init__(name="checkpoint", daemon=True)
        self.job, self.file, self.step = job, file, step
        self.stopped = threading.Event()
        self.digest, self.size = "", 0  # once it is stored
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self.file, get_checkpoint_area(self.job.pk, self.job.attempt).open_staging() as staging:
                while chunk := self.file.read(CHUNK):
                    if self.stopped.is_set():
                        return
                    staging.write(chunk)
                self.digest, self.size = staging.publish()
        except Exception as failure:  # noqa: BLE001 - whatever the store raises: the training goes on
            self.failure = failure


class CheckpointKeeper:
    """Keeps the newest checkpoint that the engine announced. One is stored at a time; of those that come meanwhile
    only the newest is kept open. Used by the attempt's own thread only; the upload's has no connection to anything.
    """

    def __init__(self, job: Job, actor: Actor, relay: Relay, scratch: Path) -> None:
        self.job, self.actor, self.relay, self.scratch = job, actor, relay, scratch
        self.waiting: tuple[BinaryIO, int] | None = None
        self.upload: CheckpointUpload | None = None
        self.kept = ""  # digest of the one that is recorded
        self.unsure = False  # a database that broke off in the middle may know of what is stored
        self.why = ""  # the last one was not kept

    # -- for the attempt that follows -------------------------------------------------------------------------------
    def stage(self, checkpoint: JobCheckpoint | None, path: Path, check: Callable[[], None]) -> bool:
        """Put what this attempt goes on from at `path`; False, and the job's log says why, if it begins anew.

        Raises PlaneError (try again) when the store is away: that is no reason to throw hours of work away.
        """
        if checkpoint is None:
            self.relay.log("There is no checkpoint: this attempt starts from the beginning.", "info")
            return False
        try:
            stage_bytes(get_checkpoint_area(self.job.pk, checkpoint.attempt), checkpoint.digest, path, check)
        except (PlaneError, OSError) as failure:
            if failure.status >= 500 if isinstance(failure, PlaneError) else failure.errno != errno.EIO:
                raise
            path.unlink(missing_ok=True)
            text = (
                f"The checkpoint of step {checkpoint.step} is damaged or gone: this attempt starts from the beginning."
            )
            self.relay.log(text, "warning")
            return False
        # Whether it goes on from there is the engine's word: its code may be another one by now.
        self.relay.log(f"Attempt {checkpoint.attempt} left the checkpoint of step {checkpoint.step}.", "info")
        return True

    # -- while the engine runs --------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """Whether something is announced that is neither kept nor given up."""
        return bool(self.relay.checkpoint or self.waiting or self.upload)

    def advance(self) -> None:
        """Open what was announced, begin to store it, record what is stored. Waits for nothing but the database.

        Raises StaleState when the job is lost, and the database's errors: then the next call goes on from there.
        """
        self.open_announced()
        if self.upload is not None and not self.upload.is_alive():
            self.report_upload(self.upload)
            self.upload = None
        if self.upload is None and self.waiting is not None:
            (file, step), self.waiting = self.waiting, None
            upload = CheckpointUpload(self.job, file, step)
            try:
                upload.start()
            except RuntimeError as failure:  # the machine has no thread left
                file.close()
                self.log_failure(step, failure)
            else:
                self.upload = upload

    def open_announced(self) -> None:
        """Hold the file open at once: the engine replaces it by the next one, not by other bytes."""
        announced, self.relay.checkpoint = self.relay.checkpoint, None
        if announced is None:
            return
        path, step = Path(announced[0]), announced[1]
        try:
            file = open_inside(self.scratch, path)
        except FileNotFoundError:  # a newer one has taken its place, and is announced too
            return
        except (OSError, PlaneError) as failure:
            self.log_failure(step, failure)
            return
        with suppress(OSError, PlaneError):
            unlink_inside(self.scratch, path)  # a link made for this reader
        self.drop_waiting()
        self.waiting = (file, step)

    def report_upload(self, upload: CheckpointUpload) -> None:
        if upload.failure is not None:
            self.log_failure(upload.step, upload.failure)
            return
        # What was measured before it is written before it: who goes on from it does not measure that again.
        self.relay.flush()
        try:
            record_checkpoint(actor=self.actor, job=self.job, step=upload.step, digest=upload.digest, size=upload.size)
        except DatabaseError:
            self.unsure = True
            raise
        self.kept, self.unsure, self.why = upload.digest, False, ""

    def log_failure(self, step: int, failure: Exception) -> None:
        """A warning in the job's log, once for each reason; nothing worse: the former checkpoint is still there."""
        why = failure.strerror if isinstance(failure, OSError) and failure.strerror else str(failure)
        if why != self.why:
            self.relay.log(f"The checkpoint of step {step} is not kept: {why or type(failure).__name__}", "warning")
        self.why = why

    # -- after ------------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Stop what is on its way, and leave nothing that the database does not know. Harmless when called again."""
        self.drop_waiting()
        upload, self.upload = self.upload, None
        if upload is None:
            return
        upload.stopped.set()
        upload.join(CLOSE_SECONDS)
        if upload.digest and upload.digest != self.kept and not self.unsure:
            try:
                get_checkpoint_area(self.job.pk, self.job.attempt).remove(upload.digest)
            except (OSError, PlaneError) as failure:  # the sweep finds it
                log.warning("job %s: a checkpoint is left: %s", self.job.pk, failure)

    def drop_waiting(self) -> None:
        if self.waiting is not None:
            self.waiting[0].close()
            self.waiting = None


def open_inside(folder: Path, path: Path) -> BinaryIO:
    """Open a regular file below `folder`; PlaneError for anything else.

    What was opened is looked at, not the name: the engine is alive, and may put something else there in between.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and is_inside(folder, descriptor):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise PlaneError("The engine names a checkpoint that is not in its folder: {path}.", path=path, code="bad_output")


def unlink_inside(folder: Path, path: Path) -> None:
    """Remove a file below `folder`, with the worker's rights; PlaneError where a link on the way leads out of it."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not is_inside(folder, descriptor):
            raise PlaneError(
                "The engine names a checkpoint that is not in its folder: {path}.", path=path, code="bad_output"
            )
        os.unlink(path.name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def is_inside(folder: Path, descriptor: int) -> bool:
    """Whether what the descriptor is open on lies below the folder, whatever its name has become."""
    return Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_relative_to(folder.resolve())
