"""The process that runs operations, as the dispatcher keeps it: started when one is due, ended with the dispatcher."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from django.conf import settings

from apps.core.actors import Actor
from apps.site.snapshots.queries import has_due_operation
from apps.site.snapshots.services import recover_operations

PR_SET_PDEATHSIG = 1
DESCRIPTOR = re.compile(r"/dev/fd/([0-9]+)")
log = logging.getLogger(__name__)


class SnapshotProcess:
    """At most one per dispatcher; what another one runs is kept off by the state of its row."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def ensure(self, actor: Actor) -> None:
        """Queue again what has lost its process, and start one if something is due and none runs."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None and self.process.returncode:
            log.warning("the process of snapshots ended with status %s", self.process.returncode)
        self.process = None
        recover_operations(actor=actor)
        if not has_due_operation(actor):
            return
        self.process = subprocess.Popen(
            [sys.executable, "-m", "controlplane", "snapshot", "work"],
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
