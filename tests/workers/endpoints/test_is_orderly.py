import itertools
import os
import subprocess

from workers import process
from workers.endpoints import keeper


def test_the_launcher_lives(monkeypatch):
    monkeypatch.setattr(keeper, "PARENT_SECONDS", 0.0)
    assert keeper.is_orderly()


def test_the_launcher_has_threads_that_outlive_its_first(monkeypatch):
    parents = itertools.chain([keeper.PARENT] * 3, itertools.repeat(1))
    monkeypatch.setattr(keeper.os, "getppid", lambda: next(parents))
    assert not keeper.is_orderly()


def test_the_launcher_was_killed_and_is_still_the_parent(monkeypatch):
    with subprocess.Popen(["sleep", "60"]) as launcher:
        assert not process.is_ending(launcher.pid)
        launcher.kill()
        os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has taken its status
        monkeypatch.setattr(keeper, "PARENT", launcher.pid)
        monkeypatch.setattr(keeper.os, "getppid", lambda: launcher.pid)
        assert not keeper.is_orderly()


def test_a_kill_is_pending_for_a_thread_that_has_not_run(monkeypatch):
    for field in ("SigPnd", "ShdPnd"):
        status = f"State:\tR (running)\n{field}:\t0000000000000100\n"
        monkeypatch.setattr(process.Path, "read_text", lambda *_, text=status, **__: text)
        assert process.is_ending(1), field
