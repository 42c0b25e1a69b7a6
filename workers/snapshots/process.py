"""Processes that the dispatcher keeps: each is started when something is due, and ended with the dispatcher."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial

from django.conf import settings

from apps.core.actors import Actor

PR_SET_PDEATHSIG = 1
DESCRIPTOR = re.compile(r"/dev/fd/([0-9]+)")
log = logging.getLogger(__name__)


class DueProcess:
    """A command of the plane that runs while something is due; at most one per dispatcher. What that of another
    dispatcher works at is kept off by the state or the lease of its row."""

    def __init__(self, *words: str, is_due: Callable[[Actor], bool]) -> None:
        self.words, self.is_due = words, is_due
        self.process: subprocess.Popen[bytes] | None = None

    def ensure(self, actor: Actor) -> None:
        """Start it if something is due and none runs."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None and self.process.returncode:
            log.warning("%s ended with status %s", " ".join(self.words), self.process.returncode)
        self.process = None
        if not self.is_due(actor):
            return
        self.process = subprocess.Popen(
            [sys.executable, "-m", "controlplane", *self.words],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PLANE_HOME": str(settings.PLANE_HOME)},
            pass_fds=list_secret_descriptors(os.environ),
            preexec_fn=partial(end_with_parent, os.getpid()),
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()


def end_with_parent(parent: int) -> None:
    """Between fork and exec: let TERM come with the death of the parent, which may have died already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def list_secret_descriptors(environment: Mapping[str, str]) -> list[int]:
    """The open descriptors that NAME_FILE=/dev/fd/N of a launcher leads to: the child reads its secrets there too."""
    paths = (value for name, value in environment.items() if name.endswith("_FILE"))
    matches = (DESCRIPTOR.fullmatch(path) for path in paths if os.path.lexists(path))
    return sorted({int(match[1]) for match in matches if match})
