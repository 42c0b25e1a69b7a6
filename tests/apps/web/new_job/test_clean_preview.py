"""Preview of a clean plan: its answers, its cache, and that its child process ends and leaves nothing."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from apps.data.datasets import bounded_process
from apps.platform.artifacts.services import Damaged
from apps.platform.artifacts.stores import get_store
from apps.web.new_job import clean_preview
from deepseek.clean.spec import CleanSpec

CSV = b"day,close\n1,57.3\n2,\n3,58.1\n"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_engine")]


@pytest.fixture(autouse=True)
def _empty_cache():
    clean_preview.cache.clear()


@pytest.fixture
def uploads(settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return tmp_path


def test_child_answers_and_leaves_no_file(engine_child, held, uploads):
    told = clean_preview.preview_clean(held(CSV), CleanSpec())
    assert told.document["steps"][0]["cells"] == 1
    assert told.document["changes"][0]["why"] == "filled"
    assert os.listdir(uploads) == []


def test_same_preview_comes_from_the_cache(held, monkeypatch):
    first = clean_preview.preview_clean(held(CSV), CleanSpec())
    monkeypatch.setattr(clean_preview, "run_child", None)
    assert clean_preview.preview_clean(held(CSV), CleanSpec()) == first
    with pytest.raises(TypeError):
        clean_preview.preview_clean(held(CSV), CleanSpec(window_size=7))


def test_large_answer_is_not_cached(held, monkeypatch):
    monkeypatch.setattr(clean_preview, "MAX_CACHED_BYTES", 10)
    clean_preview.preview_clean(held(CSV), CleanSpec())
    monkeypatch.setattr(clean_preview, "run_child", None)
    with pytest.raises(TypeError):
        clean_preview.preview_clean(held(CSV), CleanSpec())


@pytest.mark.parametrize(
    ("data", "spec", "field"),
    [(CSV, {"columns": ["open"]}, "/columns/0"), (b"a,b\n1\n", {}, "inputs/table"), (b"PAR1 no", {}, "inputs/table")],
    ids=["unknown column", "broken row", "not Parquet"],
)
def test_error_names_its_field(held, data, spec, field):
    told = clean_preview.preview_clean(held(data), CleanSpec(**spec))
    assert [error["field"] for error in told.errors] == [field]


def test_only_the_head_is_copied(held, monkeypatch, uploads):
    monkeypatch.setattr(clean_preview, "HEAD_BYTES", 40)
    told = clean_preview.preview_clean(held(CSV + b"4,59\n" * 1000), CleanSpec())
    assert (told.document["rows"], told.document["whole"]) == (5, False)
    with clean_preview.copy_head(held(CSV * 1000)) as file:
        assert os.fstat(file.fileno()).st_size == 41


def test_slow_child_is_killed(engine_child, held, monkeypatch, tmp_path, uploads):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ntime.sleep(600)\n")
    started = []
    popen = bounded_process.subprocess.Popen
    monkeypatch.setattr(
        bounded_process.subprocess, "Popen", lambda *w, **m: started.append(popen(*w, **m)) or started[-1]
    )
    monkeypatch.setattr(bounded_process, "CHILD", slow)
    monkeypatch.setattr(clean_preview, "SECONDS", 0)
    assert "was stopped" in clean_preview.preview_clean(held(CSV), CleanSpec()).note
    assert started[0].returncode == -signal.SIGKILL
    assert os.listdir(uploads) == ["slow.py"]


def test_child_ends_by_its_own_alarm(tmp_path):
    os.mkfifo(tmp_path / "never")
    words = [
        "1",
        str(clean_preview.MEMORY_BYTES),
        "1000000",
        "deepseek.cli",
        "clean",
        str(tmp_path / "never"),
        "--explain",
    ]
    child = subprocess.run(
        [sys.executable, "-I", str(bounded_process.CHILD), *words], env=bounded_process.build_environment(), check=False
    )
    assert child.returncode == -signal.SIGALRM


def test_memory_limit_holds_in_the_child(engine_child, held, monkeypatch):
    monkeypatch.setattr(clean_preview, "MEMORY_BYTES", 2**27)
    assert clean_preview.preview_clean(held(CSV), CleanSpec()).note


def test_concurrent_previews_are_limited(held, monkeypatch):
    monkeypatch.setattr(clean_preview, "slots", threading.BoundedSemaphore(1))
    monkeypatch.setattr(clean_preview, "SLOT_WAIT_SECONDS", 0.01)
    with clean_preview.slots:
        assert "Others" in clean_preview.preview_clean(held(CSV), CleanSpec()).note
    assert clean_preview.preview_clean(held(CSV), CleanSpec()).document


def test_lost_bytes_raise_damaged(held):
    artifact = held(CSV)
    os.unlink(get_store().path_of(artifact.digest))
    with pytest.raises(Damaged):
        clean_preview.preview_clean(artifact, CleanSpec())


def test_child_environment_has_no_secrets(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "x")
    assert not {"SECRET_KEY", "PLANE_HOME", "PYTHONPATH"} & bounded_process.build_environment().keys()
