"""Files of a release into its staging folder: in slices, resumed where they stopped, and verified whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from deepseek.agent.errors import AgentFailure, ReleaseRefused
from deepseek.agent.plane.transport import PlaneConnection
from deepseek.agent.storage.disk import Disk
from deepseek.signing.statements import ReleaseFile

CHUNK_BYTES = 256 << 10
PART_SUFFIX = ".part"
SPARE_BYTES = 32 << 20
"""What is left free beside a release: the journal, the outbox and the log need room too."""


class Downloader:
    """Downloads the files of one release. `seconds`: of one slice, after which the agent looks at its other work."""

    def __init__(
        self,
        connection: PlaneConnection,
        folder: Path,
        disk: Disk,
        *,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._folder, self._disk = connection, folder, disk
        self._seconds, self._clock = seconds, clock

    def fetch_slice(self, files: tuple[ReleaseFile, ...]) -> bool:
        """Download for one slice, and whether all files are complete and verified.

        Raises PlaneAway where the plane does not answer, PlaneRefusal where it has no such file for this device, and
        ReleaseRefused ``digest_mismatch`` for other bytes than the release names; those are removed.
        """
        deadline = self._clock() + self._seconds
        for file in files:
            if (self._folder / file.name).exists():
                continue
            if not self._fetch_file(file, deadline):
                return False
            if self._clock() >= deadline:
                break
        return all((self._folder / file.name).exists() for file in files)

    def measure_progress(self, files: tuple[ReleaseFile, ...]) -> float:
        """The share of the bytes that is on the disk, 0 to 1."""
        total = sum(file.size for file in files)
        return min(1.0, sum(self._measure(file) for file in files) / total) if total else 1.0

    def _measure(self, file: ReleaseFile) -> int:
        whole, part = self._folder / file.name, self._folder / f"{file.name}{PART_SUFFIX}"
        return file.size if whole.exists() else part.stat().st_size if part.exists() else 0

    def _fetch_file(self, file: ReleaseFile, deadline: float) -> bool:
        """Append what is missing of a file, and whether it is complete now."""
        part = self._folder / f"{file.name}{PART_SUFFIX}"
        with part.open("ab") as output:
            if output.tell() > file.size:
                output.truncate(0)
            if output.tell() < file.size:
                self._receive(file, output.fileno(), deadline)
            os.fsync(output.fileno())
        if part.stat().st_size < file.size:
            return False
        verify_file(part, file)
        self._disk.move(part, self._folder / file.name)
        return True

    def _receive(self, file: ReleaseFile, output: int, deadline: float) -> None:
        done = os.lseek(output, 0, os.SEEK_END)
        with self._connection.stream(f"/files/{file.sha256}", begin=done) as content:
            if content.begin != done:  # the plane does no ranges, or has another file there
                os.ftruncate(output, 0)
                done = 0
                if content.begin != 0:
                    return
            while done < file.size:
                chunk = content.read(min(CHUNK_BYTES, file.size - done))
                write_all(output, chunk)
                done += len(chunk)
                self._disk.observe("received")
                if self._clock() >= deadline:
                    return


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: os.write may take less."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def measure_file(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
        return digest, content.tell()


def verify_file(path: Path, file: ReleaseFile) -> None:
    """Raise ReleaseRefused ``digest_mismatch``, and remove the file, unless it has the bytes that the release names."""
    digest, size = measure_file(path)
    if (digest, size) == (file.sha256, file.size):
        return
    path.unlink()
    raise ReleaseRefused(
        "digest_mismatch",
        f"{file.name} has other bytes than the release names.",
        field=file.name,
        value=f"sha256 {digest}, {size} bytes",
        limit=f"sha256 {file.sha256}, {file.size} bytes",
        hint="Fetch it again. If that changes nothing, the stored file is damaged: tell the plane's operator.",
    )


def require_space(folder: Path, files: tuple[ReleaseFile, ...], present: int = 0) -> None:
    """Raise AgentFailure ``disk_full`` unless the files fit beside `present` bytes of them that are there."""
    needed = sum(file.size for file in files) - present + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise AgentFailure(
            "disk_full",
            "There is not enough room for the release.",
            field="--home",
            value=f"{free >> 20} MB free",
            limit=f"{needed >> 20} MB",
            hint="Make room on the disk of the home folder.",
        )
