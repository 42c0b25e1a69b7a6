"""The thread of a worker that builds, checks and loads bundles: beside the threads of jobs and housekeeping, of which
it takes none, and one bundle after another."""

from __future__ import annotations

import logging
import threading

from django.db import Error as DatabaseError
from django.db import connection

from apps.core.actors import Actor
from apps.site.transfer import services
from apps.site.transfer.queries import has_due_bundle

POLL_SECONDS = 1.0
log = logging.getLogger(__name__)


class BundleRunner(threading.Thread):
    """One per worker; what another one works on is kept off by a lock on the bundle's folder."""

    def __init__(self, *, actor: Actor, stopping: threading.Event) -> None:
        super().__init__(name="bundles", daemon=True)
        self.actor, self.stopping = actor, stopping

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                if has_due_bundle(self.actor):
                    services.drive_bundles(actor=self.actor, stopping=self.stopping.is_set)
            except DatabaseError as failure:  # it may be back at the next round
                log.warning("bundles: %s", failure)
                connection.close()
            except Exception:  # nobody notices a dead thread
                log.exception("bundles")
            finally:
                if connection.vendor != "sqlite":
                    connection.close()
            self.stopping.wait(POLL_SECONDS)
