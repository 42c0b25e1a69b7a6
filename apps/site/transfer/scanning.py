"""The site's malware scanner, as a command: exit status 0 is clean, 1 is a finding, anything else is no answer.

It gets the folder of the quarantined objects as its last argument: a path of our own making, never one that was sent.
Without an answer nothing is applied.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core.errors import Conflict, Unavailable
from deepseek.messages import N_

CLEAN, FOUND, NOT_SCANNED = "clean", "found", "not_scanned"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
MAX_OUTPUT = 2000


def scan_folder(folder: Path) -> dict[str, Any]:
    """{verdict, command, output} of a clean folder. Raises Conflict `malware_found`, Unavailable `scan_failed`.

    Where no scanner is set, the verdict is `not_scanned`, which approvers see, unless the site requires one.
    """
    command = shlex.split(settings.ENV.malware_scan_command)
    if not command:
        if settings.ENV.malware_scan == "required":
            raise build_scan_error("MALWARE_SCAN_COMMAND is not set")
        return {"verdict": NOT_SCANNED, "command": ""}
    try:
        ended = subprocess.run(
            [*command, os.fspath(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=settings.ENV.malware_scan_seconds,
            env=ENVIRONMENT,
            cwd="/",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise build_scan_error(type(error).__name__) from None
    output = ended.stdout.decode(errors="replace")[-MAX_OUTPUT:]
    if ended.returncode == 1:
        raise Conflict(
            "The malware scanner found something: {output}",
            output=output[-400:] or "exit status 1",
            code="malware_found",
            field="scan",
            limit="exit status 0",
            hint=N_("Discard the bundle, and tell whoever signed it."),
        )
    if ended.returncode != 0:
        raise build_scan_error(f"exit status {ended.returncode}")
    return {"verdict": CLEAN, "command": command[0]}


def build_scan_error(fault: str) -> Unavailable:
    return Unavailable(
        "The malware scanner gave no answer: {fault}.",
        fault=fault,
        code="scan_failed",
        field="MALWARE_SCAN_COMMAND",
        limit="exit status 0 or 1",
        hint=N_("The operator must mend it; then check the bundle again."),
    )
