"""The driver's process, as the dispatcher keeps it: started when something is due, ended with the dispatcher."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import signal
import subprocess
import sys

from django.conf import settings

from apps.core.actors import Actor
from apps.ml.labelling.queries import has_due_work
from workers.snapshots.process import list_secret_descriptors

PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


def is_driver_installed() -> bool:
    """Whether the extra `labelling` is here."""
    return importlib.util.find_spec("label_studio_sdk") is not None


class DriverProcess:
    """At most one driver per dispatcher; that of another one is kept off by the leases."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def ensure(self, actor: Actor) -> None:
        """Start it if something is due and none runs."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None and self.process.returncode:
            log.warning("the labelling driver ended with status %s", self.process.returncode)
        self.process = None
        if not has_due_work(actor):
            return
        dispatcher = os.getpid()

        def die_with_dispatcher() -> None:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != dispatcher:
                os._exit(1)

        command = [sys.executable, "-m", "controlplane", "drive_labelling"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PLANE_HOME": str(settings.PLANE_HOME)},
            pass_fds=list_secret_descriptors(os.environ),
            preexec_fn=die_with_dispatcher,
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
