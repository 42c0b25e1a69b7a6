"""Schedules survive: a run killed in the middle of tuning loses none, and a later job measures nothing again."""

import json
import os
import signal

import pytest

from deepseek.compile import tuning
from deepseek.job import EngineError, Silent, build_checkpoint_path
from deepseek.models.manifest import ModelManifest
from tests.deepseek.compile.conftest import compile_to
from tests.deepseek.conftest import Recorder


class Kills(Silent):
    """Kills its process at the second schedule that is announced: nothing is unwound, nothing tidied up."""

    def checkpoint(self, path, step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def counted(monkeypatch):
    """How many trials were measured."""
    count, measure = [], tuning.measure
    monkeypatch.setattr(tuning, "measure", lambda *words: count.append(1) or measure(*words))
    return count


def list_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_killed_while_tuning_loses_no_schedule(model, tmp_path, compiler, counted):
    out = tmp_path / "out"
    child = os.fork()
    if not child:
        try:
            compile_to(out, model, Kills(), batch=4, trials=4)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not out.exists()
    left = list_lines(build_checkpoint_path(out))
    assert len(left) == 2

    report = Recorder()
    compile_to(out, model, report, batch=4, trials=4)
    assert len(counted) == 2
    assert any("2 of 4 trials were known already" in text for _, text in report.lines)
    lines = list_lines(out / "schedules.jsonl")
    assert len(lines) == 4
    assert all(line in lines for line in left)
    assert not build_checkpoint_path(out).exists()
    assert ModelManifest.read(out / "model.json").machine["trials"] == 4


def test_a_later_job_takes_what_an_earlier_one_measured(made, tmp_path, counted):
    given = {"schedules": made.out / "schedules.jsonl"}
    compile_to(tmp_path / "out", made.model, Silent(), given, batch=3, trials=3)
    assert not counted
    assert (tmp_path / "out/schedules.jsonl").read_bytes() == given["schedules"].read_bytes()
    machines = [ModelManifest.read(folder / "model.json").machine for folder in (made.out, tmp_path / "out")]
    assert machines[0] == machines[1]


def test_no_schedules(made, tmp_path):
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00garbage")
    with pytest.raises(EngineError) as caught:
        compile_to(tmp_path / "out", made.model, Silent(), {"schedules": garbage}, batch=3)
    assert caught.value.code == "schedules_unreadable"
    assert not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_is_no_obstacle(model, tmp_path, compiler):
    build_checkpoint_path(tmp_path / "out").write_bytes(b"\x00garbage")
    report = Recorder()
    compile_to(tmp_path / "out", model, report, trials=1)
    assert any("is not used" in text for level, text in report.lines if level == "warning")
