"""The child that looks ahead: what it answers, and that it ends and leaves nothing."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from apps.artifacts.services import Damaged
from apps.artifacts.store import store
from apps.datasets import bounded, sampling
from deepseek.clean.spec import CleanSpec

CSV = b"day,close\n1,57.3\n2,\n3,58.1\n"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_kept():
    sampling.cache.clear()


@pytest.fixture
def uploads(settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return tmp_path


def test_the_engine_answers_and_nothing_is_left(held, uploads):
    told = sampling.ask(held(CSV), CleanSpec())
    assert told.document["steps"][0]["cells"] == 1
    assert told.document["changes"][0]["why"] == "filled"
    assert os.listdir(uploads) == []


def test_the_same_question_is_answered_from_the_cache(held, monkeypatch):
    first = sampling.ask(held(CSV), CleanSpec())
    monkeypatch.setattr(sampling, "run_child", None)
    assert sampling.ask(held(CSV), CleanSpec()) == first
    with pytest.raises(TypeError):
        sampling.ask(held(CSV), CleanSpec(window_size=7))


def test_a_large_answer_is_not_kept(held, monkeypatch):
    monkeypatch.setattr(sampling, "KEPT_BYTES", 10)
    sampling.ask(held(CSV), CleanSpec())
    monkeypatch.setattr(sampling, "run_child", None)
    with pytest.raises(TypeError):
        sampling.ask(held(CSV), CleanSpec())


@pytest.mark.parametrize(
    ("data", "spec", "field"),
    [(CSV, {"columns": ["open"]}, "/columns/0"), (b"a,b\n1\n", {}, "inputs/table"), (b"PAR1 no", {}, "inputs/table")],
)
def test_a_fault_is_told_with_its_field(held, data, spec, field):
    told = sampling.ask(held(data), CleanSpec(**spec))
    assert [error["field"] for error in told.errors] == [field]


def test_only_the_head_is_copied(held, monkeypatch, uploads):
    monkeypatch.setattr(sampling, "HEAD_BYTES", 40)
    told = sampling.ask(held(CSV + b"4,59\n" * 1000), CleanSpec())
    assert (told.document["rows"], told.document["whole"]) == (5, False)
    with sampling.head_of(held(CSV * 1000)) as file:
        assert os.fstat(file.fileno()).st_size == 41


def test_a_child_that_takes_too_long_is_ended(held, monkeypatch, tmp_path, uploads):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ntime.sleep(600)\n")
    started = []
    popen = bounded.subprocess.Popen
    monkeypatch.setattr(bounded.subprocess, "Popen", lambda *w, **m: started.append(popen(*w, **m)) or started[-1])
    monkeypatch.setattr(bounded, "CHILD", slow)
    monkeypatch.setattr(sampling, "SECONDS", 0)
    assert "was stopped" in sampling.ask(held(CSV), CleanSpec()).note
    assert started[0].returncode == -signal.SIGKILL
    assert os.listdir(uploads) == ["slow.py"]


def test_the_child_ends_by_itself_where_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "never")
    words = ["1", str(sampling.MEMORY_BYTES), "1000000", "clean", str(tmp_path / "never"), "--explain"]
    child = subprocess.run([sys.executable, "-I", str(bounded.CHILD), *words], env=bounded.environment(), check=False)
    assert child.returncode == -signal.SIGALRM


def test_limits_hold_in_the_child(held, monkeypatch):
    monkeypatch.setattr(sampling, "MEMORY_BYTES", 2**27)
    assert sampling.ask(held(CSV), CleanSpec()).note


def test_no_more_than_some_at_once(held, monkeypatch):
    monkeypatch.setattr(sampling, "slots", threading.BoundedSemaphore(1))
    monkeypatch.setattr(sampling, "WAITS_SECONDS", 0.01)
    with sampling.slots:
        assert "Others" in sampling.ask(held(CSV), CleanSpec()).note
    assert sampling.ask(held(CSV), CleanSpec()).document


def test_bytes_that_are_lost_are_named(held):
    artifact = held(CSV)
    os.unlink(store().path_of(artifact.digest))
    with pytest.raises(Damaged):
        sampling.ask(artifact, CleanSpec())


def test_the_child_sees_nothing_of_our_environment(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "x")
    assert not {"SECRET_KEY", "PLANE_HOME", "PYTHONPATH"} & bounded.environment().keys()
