"""Where bundles lie: below one folder, under the ids that planes made up themselves, never under a name that was sent.

The folder is apart from the store: what is in quarantine is no artifact, and nothing serves it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from apps.core.errors import PlaneError, Unavailable
from apps.platform.audit.faults import translate_disk_fault
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from deepseek.messages import N_


def get_transfer_folder() -> Path:
    return Path(settings.ENV.transfer_folder or Path(settings.PLANE_HOME) / "transfer")


def get_outgoing_folder(bundle: OutgoingBundle) -> Path:
    return get_transfer_folder() / "outgoing" / bundle.bundle_id


def get_incoming_folder(bundle: IncomingBundle) -> Path:
    """By the row's key: two bundles that claim one id do not meet."""
    return get_transfer_folder() / "incoming" / str(bundle.pk)


def get_objects_folder(bundle: IncomingBundle) -> Path:
    return get_incoming_folder(bundle) / "objects"


def remove_folder(folder: Path) -> None:
    """Remove a folder with everything in it; harmless where there is none."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def hold_folder(folder: Path) -> Iterator[bool]:
    """Whether this process alone works in the folder until the block ends; a killed process holds nothing."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def convert_disk_fault(error: OSError) -> PlaneError:
    """A fault of the disk as an error of the plane."""
    return translate_disk_fault(error) or Unavailable(
        "The folder of bundles cannot be used: {fault}.",
        fault=error.strerror or type(error).__name__,
        code="transfer_folder",
        field="TRANSFER_FOLDER",
        hint=N_("The operator must give the plane a folder that it can write."),
    )
