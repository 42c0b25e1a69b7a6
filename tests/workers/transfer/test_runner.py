"""The thread that works on bundles: it goes on after a fault, and ends with its worker."""

import threading

from django.db import OperationalError

from workers.transfer import runner


def test_it_works_on_what_is_due_whatever_failed_before(monkeypatch):
    stopping, rounds = threading.Event(), []
    faults = [OperationalError("away"), ValueError("a defect")]

    def is_due(actor):
        rounds.append(actor)
        if len(rounds) <= len(faults):
            raise faults[len(rounds) - 1]
        return len(rounds) == 4

    def drive(*, actor, stopping):
        assert not stopping()
        stop()

    def stop():
        stopping.set()

    monkeypatch.setattr(runner, "POLL_SECONDS", 0)
    monkeypatch.setattr(runner, "has_due_bundle", is_due)
    monkeypatch.setattr(runner.services, "drive_bundles", drive)
    thread = runner.BundleRunner(actor="worker", stopping=stopping)
    thread.start()
    thread.join(10)
    assert (len(rounds), thread.is_alive()) == (4, False)
