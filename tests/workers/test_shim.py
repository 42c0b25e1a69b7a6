"""The shim with real processes: how an engine ends, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from tests.workers.conftest import all_events, read_all
from workers.process import MARKER
from workers.shim import STOPPED


def processes_of(process) -> list[psutil.Process]:
    found = []
    for other in psutil.process_iter():
        try:
            if other.environ().get(MARKER) == process.mark and other.status() != psutil.STATUS_ZOMBIE:
                found.append(other)
        except psutil.Error:
            continue
    return found


def wait_for_children(process, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(processes_of(process)) < count + 2 and time.monotonic() < deadline:  # the shim and the engine
        time.sleep(0.02)


def test_success_ends_with_a_result(engine):
    process = engine({"echo": "hi"})
    events = read_all(process)
    assert [output["slot"] for output in events[-1]["outputs"]] == ["note", "echo"]
    assert process.close(60) == 0


@pytest.mark.parametrize("spec", [{}, {"fail": "exception"}, {"fail": "crash"}])
def test_last_event_is_usage(engine, spec):
    process = engine(spec)
    last = all_events(process)[-1]
    process.close(60)
    assert last["event"] == "usage"
    assert last["peak_memory_bytes"] > 2**20
    assert last["cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("fail", "code", "last"),
    [("error", 1, "error"), ("exception", 2, "crash"), ("crash", 128 + signal.SIGSEGV, "progress")],
)
def test_failures_have_exit_code_and_last_event(engine, fail, code, last):
    process = engine({"fail": fail})
    events = read_all(process)
    assert (process.close(60), events[-1]["event"]) == (code, last)


@pytest.mark.parametrize(
    ("entry", "named"), [("tests.workers.quitter:run", "SystemExit: 3"), ("no.such:thing", "ModuleNotFoundError")]
)
def test_exit_and_import_error_are_reported(engine, entry, named):
    process = engine({}, entry=entry)
    last = read_all(process)[-1]
    assert process.close(60) == 2
    assert last["message"].startswith(named)


def test_let_go_ends_detached_children(engine):
    process = engine({"seconds": 60, "children": 3})
    wait_for_children(process, 3)
    assert len(processes_of(process)) == 5
    began = time.monotonic()
    process.let_go()
    assert process.close(60) == STOPPED
    assert processes_of(process) == []
    assert time.monotonic() - began < 30  # of the 60 that they would go on


def test_engine_that_ignores_term_is_killed(engine):
    process = engine({"fail": "hang"})
    os.read(process.events, 1)
    process.let_go()
    assert process.close(60) == STOPPED
    assert processes_of(process) == []


def test_children_of_finished_engine_are_ended(engine):
    process = engine({"children": 2})
    read_all(process)
    assert process.close(60) == 0
    assert processes_of(process) == []


def test_sweep_after_killed_shim(engine):
    process = engine({"seconds": 60, "children": 2})
    wait_for_children(process, 2)
    process.shim.kill()
    assert process.close(60) == -signal.SIGKILL
    assert processes_of(process) == []


def test_environment_has_no_secrets(engine, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "must not travel")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "must not travel")
    process = engine({"seconds": 5})
    environment: dict[str, str] = {}
    while not environment:  # empty for an instant: exec closes the pipes before it shows the new environment
        environment = psutil.Process(process.shim.pid).environ()
    process.let_go()
    assert "must not travel" not in environment.values()
    assert environment[MARKER] == process.mark


def test_children_do_not_inherit_lifeline_of_other_job(engine):
    """A second job must not keep the first one's pipe open, or the first would outlive its worker."""
    first, second = engine({"seconds": 60}), engine({"seconds": 60})
    first.let_go()
    first.shim.wait(timeout=30)
    assert second.shim.poll() is None
