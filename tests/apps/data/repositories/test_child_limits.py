"""What bounds a child of Git where nobody waits for it any more."""

from __future__ import annotations

import signal
import subprocess

import pytest

from apps.data.repositories import git


@pytest.fixture
def one_second(settings):
    settings.ENV = settings.ENV.model_copy(update={"git_seconds": 1})


def test_a_child_that_computes_for_ever_ends_by_itself(one_second, monkeypatch, tmp_path):
    monkeypatch.setattr(git, "PROCESSORS", 1)
    spin = ("-c", "alias.spin=!while :; do :; done", "spin")
    child = git.start(
        *spin, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert child.wait(timeout=20) in (-signal.SIGKILL, -signal.SIGXCPU, 128 + signal.SIGKILL, 128 + signal.SIGXCPU)
    finally:
        git.kill_child(child)


def test_a_child_within_its_limits_works(one_second, tmp_path):
    assert git.run("version", cwd=tmp_path).startswith(b"git version")
