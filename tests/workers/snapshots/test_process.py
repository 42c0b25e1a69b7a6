"""Processes that the dispatcher starts read their secrets where it did: from descriptors that a launcher opened."""

from __future__ import annotations

import os
import subprocess

import pytest

from workers.snapshots.process import DueProcess


class Started(Exception):
    """Instead of a process."""


@pytest.fixture
def secret(monkeypatch):
    descriptor = os.memfd_create("database_url")
    monkeypatch.setenv("DATABASE_URL_FILE", f"/dev/fd/{descriptor}")
    monkeypatch.setenv("CLOSED_FILE", "/dev/fd/99999")
    monkeypatch.setenv("NUMBER_FILE", str(descriptor + 1))
    monkeypatch.setenv("PATH_FILE", f"/etc/dev/fd/{descriptor}")
    yield descriptor
    os.close(descriptor)


def test_secrets_are_passed_on(secret, monkeypatch):
    def start(command, *, pass_fds, **options):
        assert (command[-2:], pass_fds) == (["snapshot", "work"], [secret])
        raise Started

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(Started):
        DueProcess("snapshot", "work", is_due=lambda actor: True).ensure(actor=None)


def test_nothing_is_started_while_nothing_is_due(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    process = DueProcess("snapshot", "work", is_due=lambda actor: False)
    process.ensure(actor=None)
    process.stop()
    assert process.process is None
