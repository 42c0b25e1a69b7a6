"""The driver's process, as the dispatcher keeps it: started when something is due, ended with the dispatcher."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from functools import partial

from django.conf import settings

from apps.core.actors import Actor
from apps.ml.labelling.queries import has_due_work
from workers.snapshots.process import end_with_parent, list_secret_descriptors

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
        command = [sys.executable, "-m", "controlplane", "drive_labelling"]
        self.process = subprocess.Popen(
            command,
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
