"""Doorbells by the embedded broker: enough is enough."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery

from apps.platform.jobs.scheduling import doorbell


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The messages of a broker of the test's own."""
    queue = tmp_path / "queue"
    queue.mkdir()
    app = Celery("bell", broker="planefs://", set_as_current=False)
    app.conf.broker_transport_options = {
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "control_folder": str(tmp_path / "control"),
    }
    monkeypatch.setattr(doorbell, "current_app", app)
    return queue


def test_a_queue_that_nobody_hears_is_not_rung_for_ever(folder, monkeypatch):
    monkeypatch.setattr(doorbell, "MAX_UNHEARD", 3)
    for _ in range(10):
        doorbell.ring_now("cpu")
    doorbell.ring_now("gpu")
    assert (doorbell.count_unheard("cpu"), doorbell.count_unheard("gpu"), len(list(folder.iterdir()))) == (3, 1, 4)


def test_ringing_goes_on_after_a_failure(monkeypatch):
    rung = []

    def ring_now(queue):
        rung.append(queue)
        raise OSError("no broker")

    monkeypatch.setattr(doorbell, "ring_now", ring_now)
    pending = SimpleNamespace(get=iter(["cpu", "gpu"]).__next__, empty=lambda: True)
    with pytest.raises(StopIteration):
        doorbell._ring_forever(pending)
    assert rung == ["cpu", "gpu"]
