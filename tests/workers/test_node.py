"""The start of a worker: what dead ones left is swept, what living ones need stays, a database away is waited for."""

from __future__ import annotations

import os
import threading

import pytest
from django.db import OperationalError

from workers import node, process

pytestmark = pytest.mark.services


@pytest.fixture
def stopping(monkeypatch) -> threading.Event:
    event = threading.Event()
    monkeypatch.setattr(node, "STOPPING", event)
    monkeypatch.setattr(node, "REGISTER_SECONDS", 0.01)
    return event


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [OperationalError("away"), ValueError("surprise")])
def test_registration_is_repeated_until_done(stopping, monkeypatch, fault):
    answers = iter([fault, fault, None])

    def start() -> None:
        answer = next(answers)
        if answer:
            raise answer

    monkeypatch.setattr(node, "this_worker", start)
    node.register_until_done()
    assert next(answers, "asked three times") == "asked three times"


def test_the_worker_of_a_process_is_registered_once(monkeypatch):
    workers = iter(["first", "second"])
    monkeypatch.setattr(node, "_worker", None)
    monkeypatch.setattr(node, "_start", lambda: next(workers))
    assert [node.this_worker(), node.this_worker()] == ["first", "first"]


def test_stop_before_registration_is_heard(stopping, monkeypatch):
    monkeypatch.setattr(node, "_worker", None)
    node.stop_jobs()
    assert stopping.is_set()


def test_sweep_keeps_scratch_of_living_workers(tmp_path):
    mine = process.marker(1, 1).replace(":", "-")
    dead = f"1-1-{os.getpid()}-1"
    for name in (mine, dead, "something else"):
        (tmp_path / name).mkdir()
    process.sweep_scratch(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine, "something else"])


def test_unkillable_process_is_left_after_a_while(monkeypatch):
    monkeypatch.setattr(process, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(process, "sweep", lambda mark: 1)
    process.end_marked("1:1:1:1")
