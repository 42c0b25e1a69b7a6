"""The dispatcher's loops outlive whatever their work raises: a sealer that died in silence would seal nothing."""

from __future__ import annotations

import threading

import pytest
from django.db import OperationalError

from apps.jobs import pulse
from workers.management.commands.dispatcher import Command

pytestmark = pytest.mark.services


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [OperationalError("away"), RuntimeError("somebody else writes"), OSError(28, "full")])
def test_loop_outlives_any_fault_and_beats_after_work(monkeypatch, fault):
    beats: list[str] = []
    monkeypatch.setattr(pulse, "beat", beats.append)
    command, answers = Command(), iter([fault, fault, None])
    command.stopping = threading.Event()

    def work() -> None:
        answer = next(answers)
        if answer:
            raise answer
        command.stopping.set()

    command.every(0.01, "sealer", work)
    assert beats == ["sealer"]
