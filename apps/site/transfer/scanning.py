"""The site's malware scanner, as a command: exit status 0 is clean, 1 is a finding, anything else is no answer.

It gets the folder of the quarantined objects as its last argument: a path of our own making, never one that was sent.
Without an answer nothing is applied.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core.errors import Conflict, Unavailable
from deepseek.messages import N_

CLEAN, FOUND, NOT_SCANNED = "clean", "found", "not_scanned"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
MAX_OUTPUT = 2000
CHECK_SECONDS = 1.0


def scan_folder(folder: Path, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """{verdict, command, output} of a clean folder. Raises Conflict `malware_found`, Unavailable `scan_failed`.

    `check` is called every second while it runs; what it raises ends the scanner.
    Where no scanner is set, the verdict is `not_scanned`, which approvers see, unless the site requires one.
    """
    command = shlex.split(settings.ENV.malware_scan_command)
    if not command:
        if settings.ENV.malware_scan == "required":
            raise build_scan_error("MALWARE_SCAN_COMMAND is not set")
        return {"verdict": NOT_SCANNED, "command": ""}
    status, output = run_scanner([*command, os.fspath(folder.resolve())], check)
    if status == 1:
        raise Conflict(
            "The malware scanner found something: {output}",
            output=output[-400:] or "exit status 1",
            code="malware_found",
            field="scan",
            limit="exit status 0",
            hint=N_("Discard the bundle, and tell whoever signed it."),
        )
    if status != 0:
        raise build_scan_error(f"exit status {status}")
    return {"verdict": CLEAN, "command": command[0]}


def run_scanner(command: list[str], check: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """(exit status, end of the output). Raises Unavailable `scan_failed` where it cannot start, or takes too long: then
    everything that it started is killed."""
    try:
        with tempfile.TemporaryFile() as written:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
            try:
                status = wait_for(child, settings.ENV.malware_scan_seconds, check)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            written.seek(max(0, os.fstat(written.fileno()).st_size - MAX_OUTPUT))
            # The character NUL fits into no row of PostgreSQL.
            return status, written.read(MAX_OUTPUT).decode(errors="replace").replace("\0", " ")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise build_scan_error(type(error).__name__) from None


def wait_for(child: subprocess.Popen[bytes], seconds: float, check: Callable[[], None]) -> int:
    """Its exit status. Raises TimeoutExpired, and what `check` raises."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        try:
            return child.wait(max(0.0, min(CHECK_SECONDS, left)))
        except subprocess.TimeoutExpired:
            if left <= CHECK_SECONDS:
                raise
        check()


def build_scan_error(fault: str) -> Unavailable:
    return Unavailable(
        "The malware scanner gave no answer: {fault}.",
        fault=fault,
        code="scan_failed",
        field="MALWARE_SCAN_COMMAND",
        limit="exit status 0 or 1",
        hint=N_("The operator must mend it; then check the bundle again."),
    )
