"""Remove from this node what studies have left behind: keys of jobs that do not run, and folders of ended studies.

A worker that was killed removes nothing itself. Each worker looks when it starts and then once a minute.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import connection

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError
from apps.ml.federation.models import SiteStudy, Study
from apps.ml.federation.services.ledger import record_ledger_entries
from apps.ml.federation.states import ENDED_SITE_STUDY, ENDED_STUDY
from apps.platform.jobs.states import JobState
from deepseek.federated.spec import SERVER_NAME
from workers.federation.homes import clear_keys, list_homes, lock_home, read_holder, read_ledger_lines, remove_home

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0


class HomeSweep:
    """Asked by the heartbeat, which it never delays: the looking is done by a thread of its own."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.next_look = time.monotonic()
        self.thread: threading.Thread | None = None

    def sweep_when_due(self) -> None:
        if time.monotonic() < self.next_look or (self.thread and self.thread.is_alive()):
            return
        self.next_look = time.monotonic() + LOOK_SECONDS
        if list_homes():
            self.thread = threading.Thread(target=self.sweep, name="federation homes", daemon=True)
            self.thread.start()

    def sweep(self) -> None:
        try:
            sweep_homes(actor=self.actor)
        except (OSError, DatabaseError, PlaneError) as failure:
            log.warning("the folders of studies were not looked through: %s", failure)
        finally:
            connection.close()


def sweep_homes(*, actor: Actor) -> int:
    """Remove keys that no running job needs, and the folders of studies that have ended; returns how many folders.

    A folder whose study the database does not know stays, without keys: its ledger may be the only one that there is.
    """
    removed = 0
    for home in list_homes():
        with lock_home(home) as lock:  # a job that begins now waits for it, and brings its keys after
            row = find_row(actor, home)
            job = row.job if row is not None else None
            # Of an attempt before, which was killed here, the keys go while the job runs on another node.
            holds = job is not None and read_holder(lock) == (job.pk, job.attempt)
            if not (holds and job is not None and job.state == JobState.RUNNING):
                clear_keys(home, lock)
            if job is not None and not job.ended:
                continue
            if row is None or row.state not in (*ENDED_STUDY, *ENDED_SITE_STUDY):
                continue
            if isinstance(row, SiteStudy):
                report_rest(actor, row, home)
            remove_home(home)
            removed += 1
    return removed


def find_row(actor: Actor, home: Path) -> Study | SiteStudy | None:
    """The study of a folder, by the names of its path (homes.py)."""
    project, digest, site = home.parts[-3:]
    if not project.isdecimal():
        return None
    if site == SERVER_NAME:
        studies = Study.objects.visible_to(actor).select_related("job")
        return studies.filter(project=int(project), digest=digest).first()
    rows = SiteStudy.objects.visible_to(actor).select_related("job", "project")
    return rows.filter(project=int(project), digest=digest, site=site).first()


def report_rest(actor: Actor, row: SiteStudy, home: Path) -> None:
    """Record what no attempt has reported: its worker was killed, and the study was left then."""
    offset = 0
    while True:
        entries, end = read_ledger_lines(home, offset)
        if end == offset:
            return
        try:
            record_ledger_entries(actor=actor, site_study=row, entries=entries)
        except Invalid as fault:  # the others of the batch are recorded
            log.warning("a line of the ledger of %s is refused: %s", row, fault)
        offset = end
