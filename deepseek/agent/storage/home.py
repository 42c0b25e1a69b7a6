"""The home folder of a device: where each file lies, and the lock that gives it to one process.

agent.lock            held by the process that works in the folder
device.key            the device's private key (0600)
device.json           what the plane calls the device, and its token (0600)
keys.json             the newest list of release keys that was verified
state.json            highest sequence of each model, the previous version, the receipts' counter
update.json           the journal of the update under way
current -> versions/<release>
versions/<release>/   release.json, installed.json and model/, the folder that is served
staging/<release>/    what is being downloaded
incoming/<release>/   what `deepseek agent install` brought
outbox/               what the plane has not got yet
recorded/             predictions that wait to be sent
labels/               labels of them that wait to be sent
status.json           for `deepseek agent status`
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Any

from deepseek.agent.errors import AgentError, AgentFailure
from deepseek.agent.storage.disk import Disk, ignore_step, read_json

RELEASE = re.compile(r"[0-9a-f]{64}")


class Home:
    """One home folder. Not for several threads at once."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.folder = folder
        self.disk = disk or Disk(ignore_step)
        self.key_file = folder / "device.key"
        self.device_file = folder / "device.json"
        self.keys_file = folder / "keys.json"
        self.state_file = folder / "state.json"
        self.journal_file = folder / "update.json"
        self.status_file = folder / "status.json"
        self.current_link = folder / "current"
        self.versions = folder / "versions"
        self.staging = folder / "staging"
        self.incoming = folder / "incoming"
        self.outbox = folder / "outbox"
        self.recorded = folder / "recorded"
        self.labels = folder / "labels"
        self._lock: int | None = None

    def prepare(self) -> None:
        """Make the folders that are missing. Raises AgentError ``home_unusable``."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.versions, self.staging, self.incoming, self.outbox, self.recorded, self.labels):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise AgentError(
                "home_unusable",
                f"The home folder cannot be used: {error.strerror or error}.",
                field="--home",
                value=str(self.folder),
                limit="a folder that this user may write to",
                hint="Name another folder, or change its owner.",
            ) from None

    def lock(self) -> None:
        """Take the folder for this process, until it ends. Raises AgentFailure ``home_in_use``."""
        if not self.try_lock():
            raise AgentFailure(
                "home_in_use",
                "Another agent works in this home folder.",
                field="--home",
                value=str(self.folder),
                limit="one agent at a time",
                hint="Stop the other one, or name another folder.",
            )

    def try_lock(self) -> bool:
        """Whether this process has the folder from now on."""
        descriptor = os.open(self.folder / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read_current(self) -> str | None:
        """The release that is switched on; None on a device that has none yet."""
        try:
            release = os.path.basename(os.readlink(self.current_link))
        except OSError:
            return None
        return release if RELEASE.fullmatch(release) else None

    def write_current(self, release: str | None) -> None:
        """Switch to an installed release, or to none: one rename."""
        if release is None:
            self.disk.remove(self.current_link)
        elif self.read_current() != release:
            self.disk.link(self.current_link, f"versions/{release}")

    def get_version_folder(self, release: str) -> Path:
        return self.versions / release

    def read_status(self) -> dict[str, Any]:
        return read_json(self.status_file) or {}
