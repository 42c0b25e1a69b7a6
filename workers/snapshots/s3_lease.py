"""A lease on a repository in an S3-compatible store: an object that is replaced by conditional writes alone.

Who holds it renews it; who finds it old takes it over. Age is judged by the store's own clock, from `Last-Modified` and
`Date` of one answer. The holder stops to write LEASE_SECONDS - FENCE_SECONDS before anybody else may start.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from deepseek.messages import N_
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.storage import build_busy_error
from workers.snapshots.s3_errors import is_condition_failure, translate_errors

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
RENEW_SECONDS = 10.0
FENCE_SECONDS = 30.0
"""Without a renewal for so long the holder writes and deletes nothing more."""
PATIENCE_SECONDS = 5.0
"""A lease that ends within this time is waited for: of a process that died as the queue noticed it."""


class LeaseObject(NamedTuple):
    """The object as it lies in the store. `age`: seconds since it was written."""

    etag: str
    owner: str  # empty: released
    write: str  # differs with every write
    age: float


class S3Lease:
    """Held from `acquire` to `release`; `confirm` raises SnapshotError once it may be another's."""

    def __init__(self, fs: Any, path: str) -> None:
        self.fs = fs
        self.bucket, self.key, _version = fs.split_path(path)
        self.owner = secrets.token_hex(16)
        self.etag = ""
        self.renewed_at = 0.0
        self.is_lost = False
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.renew_until_released, name="snapshot-lease", daemon=True)

    def acquire(self) -> None:
        """Take the lease and keep it. Raises SnapshotError `snapshot_busy` where another process has it, and
        `snapshot_storage_unsafe` for a store that does not honour conditions of writes."""
        present = self.read()
        if present is not None and present.owner and present.age < LEASE_SECONDS:
            remaining = LEASE_SECONDS - present.age
            if remaining > PATIENCE_SECONDS:
                raise build_busy_error()
            time.sleep(remaining)
        if not self.write(self.owner, etag=present.etag if present else ""):
            raise build_busy_error()
        if self.write(self.owner):  # there is an object by now, so this must be refused
            self.write("", etag=self.etag)
            raise SnapshotError(
                "snapshot_storage_unsafe",
                "The store of the snapshots does not honour conditional writes: two planes could spoil each other.",
                field="repository",
                limit="PutObject with If-None-Match and If-Match",
                hint=N_("Use a store that honours them, or a folder on a mount."),
            )
        self.thread.start()

    def release(self) -> None:
        """Leave the object to whoever comes next; one that cannot be written runs out by itself."""
        self.ending.set()
        self.thread.join(timeout=FENCE_SECONDS)
        with suppress(SnapshotError):
            if self.write("", etag=self.etag):
                return
            present = self.read()  # of a renewal whose answer has not come yet
            if present is not None and present.owner == self.owner:
                self.write("", etag=present.etag)

    def confirm(self) -> None:
        """Raise SnapshotError where the lease was not renewed in time, or is another's."""
        if self.is_lost or time.monotonic() - self.renewed_at > FENCE_SECONDS:
            raise SnapshotError(
                "snapshot_lease_lost",
                "The store did not answer for {seconds} s, and another process may write to the repository by now.",
                seconds=int(FENCE_SECONDS),
                field="repository",
                hint=N_("Start it again: what is stored already counts."),
            )

    def renew_until_released(self) -> None:
        while not self.ending.wait(RENEW_SECONDS):
            try:
                if not self.write(self.owner, etag=self.etag):
                    self.is_lost = True
                    return
            except SnapshotError as failure:  # it may answer at the next try; `confirm` judges
                log.warning("the lease of the repository: %s", failure.message)

    def read(self) -> LeaseObject | None:
        """The object in the store; None where nobody ever had a lease."""
        try:
            with translate_errors():
                answer = self.fs.call_s3("head_object", Bucket=self.bucket, Key=self.key)
        except FileNotFoundError:
            return None
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        metadata = answer.get("Metadata", {})
        age = (now - answer["LastModified"]).total_seconds()
        return LeaseObject(answer["ETag"], metadata.get("owner", ""), metadata.get("write", ""), age)

    def write(self, owner: str, *, etag: str = "") -> bool:
        """Replace the object that has this etag, or make the first one; False where it is another one by now.

        The bytes of each write differ from those before, and so does its etag.
        """
        token, began = secrets.token_hex(16), time.monotonic()
        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        place = {"Bucket": self.bucket, "Key": self.key, "Metadata": {"owner": owner, "write": token}}
        try:
            with translate_errors():
                answer = self.fs.call_s3("put_object", **place, Body=token.encode(), **condition)
        except (FileNotFoundError, SnapshotError) as failure:
            if not is_condition_failure(failure):
                raise
            present = self.read()
            if present is None or present.write != token:
                return False
            answer = {"ETag": present.etag}  # it was ours: its answer was lost, and the client had tried again
        self.etag, self.renewed_at = answer["ETag"], began
        return True
