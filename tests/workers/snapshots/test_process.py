"""Processes that the dispatcher starts read their secrets where it did: from descriptors that a launcher opened."""

from __future__ import annotations

import os
import subprocess

import pytest

from workers.labelling import process as labelling
from workers.snapshots import process as snapshots


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


@pytest.mark.parametrize(
    ("module", "due", "kind"),
    [(labelling, "has_due_work", "DriverProcess"), (snapshots, "has_due_operation", "SnapshotProcess")],
)
def test_secrets_are_passed_on(secret, monkeypatch, module, due, kind):
    def start(command, *, pass_fds, **options):
        assert pass_fds == [secret]
        raise Started

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(module, due, lambda actor: True)
    monkeypatch.setattr(snapshots, "recover_operations", lambda actor: 0)
    with pytest.raises(Started):
        getattr(module, kind)().ensure(actor=None)
