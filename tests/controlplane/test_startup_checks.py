"""What must hold before the plane starts."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.core.management import CommandError
from django.db import OperationalError, connection

from apps.platform.audit.triggers import disable_triggers
from controlplane import gunicorn_conf, startup_checks
from controlplane.keepalive_worker import BoundedThreads
from controlplane.startup_checks import CannotStart, ready_database
from workers.startup_checks import refuse_unsound

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


class Worker:
    """As much of gunicorn's worker as the hook uses."""

    halt_server = BoundedThreads.halt_server

    def __init__(self) -> None:
        self.log, self.told = self, ""

    def critical(self, text: str, *arguments: object) -> None:
        self.told = text % arguments


@pytest.mark.parametrize("migrate", [True, False])
def test_a_sound_database_is_ready(migrate):
    ready_database(migrate=migrate)
    refuse_unsound()
    gunicorn_conf.refuse_unsound(Worker())


def test_nobody_starts_on_a_trail_that_lies_open():
    worker = Worker()
    with disable_triggers(connection):
        with pytest.raises(CannotStart, match=r"audit\.E001"):
            ready_database(migrate=True)
        with pytest.raises(CommandError, match=r"restore_audit_triggers"):
            refuse_unsound()
        with pytest.raises(SystemExit) as exit:
            gunicorn_conf.refuse_unsound(worker)
    assert (exit.value.code, "audit.E001" in worker.told) == (4, True)


def test_missing_migrations_are_named(monkeypatch):
    monkeypatch.setattr(startup_checks, "list_pending_migrations", lambda: ["jobs.0002_more"])
    with pytest.raises(CannotStart, match=r"lacks 1 migrations, jobs\.0002_more first"):
        ready_database(migrate=False)


def test_a_database_that_is_away_is_said_to_be(monkeypatch):
    def away() -> list[str]:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(startup_checks, "list_pending_migrations", away)
    with pytest.raises(CannotStart, match=r"cannot be used: connection refused\. Look"):
        ready_database(migrate=False)


def test_no_child_of_the_web_process_looks_into_it(tmp_path):
    """In a process of its own: it is for good."""
    asked = (
        "import ctypes, controlplane.gunicorn_conf as conf; conf.on_starting(None); print(ctypes.CDLL(None).prctl(3))"
    )
    environment = {**os.environ, "PLANE_HOME": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "0"


def test_a_new_worker_counts_into_the_lowest_free_slot(monkeypatch):
    monkeypatch.setattr(gunicorn_conf, "SLOTS", set())
    workers = [SimpleNamespace() for _ in range(4)]
    for worker in workers[:3]:
        gunicorn_conf.pre_fork(None, worker)
    gunicorn_conf.child_exit(None, workers[1])
    gunicorn_conf.pre_fork(None, workers[3])
    assert [worker.slot for worker in workers] == [0, 1, 2, 1]
