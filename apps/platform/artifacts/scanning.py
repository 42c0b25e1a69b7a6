"""The site's malware scanner for uploads: a command that reads the bytes on its standard input as they come.

Exit status 0 is clean, 1 is a finding; anything else, and silence, is no answer, and nothing is published without one.
The scanner never sees a path, so what goes into an encrypted store or a bucket is scanned likewise.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import IO, Self

from django.conf import settings

from apps.core.actors import Actor
from apps.core.errors import Invalid, Unavailable
from apps.platform.accounts.models import Project
from apps.platform.audit.models import Result
from apps.platform.audit.services import record
from deepseek.messages import N_

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
MAX_OUTPUT = 2000
VERSION_SECONDS = 10.0


class UploadScan:
    """One upload on its way through the scanner; as a context it ends what it started. Nothing where none is set."""

    def __init__(self) -> None:
        command = shlex.split(settings.ENV.upload_scan_command)
        self.child: subprocess.Popen[bytes] | None = None
        self.ended_early = False
        self.output: IO[bytes] = tempfile.TemporaryFile() if command else open(os.devnull, "rb")  # noqa: SIM115
        if not command:
            if settings.ENV.malware_scan == "required":
                self.output.close()
                raise build_scan_error("UPLOAD_SCAN_COMMAND is not set")
            return
        try:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=self.output,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self.output.close()
            raise build_scan_error(type(error).__name__) from None
        assert self.child.stdin is not None  # noqa: S101 - as it was asked for
        os.set_blocking(self.child.stdin.fileno(), False)

    def write(self, chunk: bytes) -> None:
        """Hand the scanner more bytes. Unavailable `scan_failed` where it takes none for MALWARE_SCAN_SECONDS."""
        if self.child is None or self.child.stdin is None or self.child.stdin.closed:
            return
        handle, rest = self.child.stdin.fileno(), memoryview(chunk)
        poll = select.poll()  # select() takes no descriptor above 1023, and a web process has more
        poll.register(handle, select.POLLOUT)
        deadline = time.monotonic() + settings.ENV.malware_scan_seconds
        try:
            while rest:
                left = deadline - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    raise build_scan_error("it reads no more bytes")
                with suppress(BlockingIOError):
                    rest = rest[os.write(handle, rest) :]
        except BrokenPipeError:  # a finding is enough to end with; without one it has to read on
            self.ended_early = True
            self.child.stdin.close()

    def require_clean(self) -> None:
        """Raise Invalid `malware_found`, or Unavailable `scan_failed`, unless the scanner ends with 0."""
        if self.child is None:
            return
        with suppress(BrokenPipeError):
            if self.child.stdin is not None:
                self.child.stdin.close()
        try:
            status = self.child.wait(settings.ENV.malware_scan_seconds)
        except subprocess.TimeoutExpired:
            raise build_scan_error("TimeoutExpired") from None
        if status == 1:
            raise Invalid(
                "The malware scanner found something: {output}",
                output=self._read_output() or "exit status 1",
                code="malware_in_upload",
                field="file",
                limit="exit status 0",
                hint=N_("Nothing was stored. Tell your security administrator where the file comes from."),
            )
        if status != 0:
            raise build_scan_error(f"exit status {status}")
        if self.ended_early:
            raise build_scan_error("it did not read every byte")

    def _read_output(self) -> str:
        self.output.seek(max(0, os.fstat(self.output.fileno()).st_size - MAX_OUTPUT))
        # The character NUL fits into no row of PostgreSQL.
        return self.output.read(MAX_OUTPUT).decode(errors="replace").replace("\0", " ").strip()[-400:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            with suppress(BrokenPipeError):
                if self.child.stdin is not None:
                    self.child.stdin.close()
            self.child.wait()
        self.output.close()


def record_finding(actor: Actor, project: Project | None, name: str, error: Invalid) -> None:
    """The audit record of an upload that was refused for what the scanner found. `project`: None where it is the
    plane's own, an image for instance."""
    record(
        actor=actor,
        action="artifact.malware_found",
        obj=project,
        object_type="" if project else "store",
        object_id="" if project else "artifacts",
        result=Result.REFUSED,
        reason=error.message,
        after={"name": name[:200]},
    )


def build_scan_error(fault: str) -> Unavailable:
    return Unavailable(
        "The malware scanner gave no answer: {fault}.",
        fault=fault,
        code="scan_failed",
        field="UPLOAD_SCAN_COMMAND",
        limit="exit status 0 or 1",
        hint=N_("The operator must mend it; then send the file again."),
    )


def describe_scanner() -> str:
    """What MALWARE_VERSION_COMMAND prints: scanner, version and date of its signatures; "" where none is set."""
    command = settings.ENV.malware_version_command
    return read_version(command, int(time.time() // 300)) if command else ""


@lru_cache(maxsize=2)
def read_version(command: str, _five_minutes: int) -> str:
    try:
        done = subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ENVIRONMENT,
            cwd="/",
            timeout=VERSION_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"no answer: {type(error).__name__}"
    return done.stdout.decode(errors="replace").strip()[:200]
