"""Outputs appear whole or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepseek.job import STALE_SECONDS, EngineError, build_checkpoint_path, stage_outputs


def test_success_renames_the_folder(tmp_path):
    out = tmp_path / "new" / "out"
    with stage_outputs(out) as stage:
        (stage / "deep").mkdir()
        (stage / "deep" / "a").write_text("a")
        assert stage.parent == out.parent
        assert not out.exists()
    assert (out / "deep" / "a").read_text() == "a"
    assert os.listdir(out.parent) == ["out"]


def write_then(out, act):
    with stage_outputs(out) as stage:
        (stage / "ours").touch()
        act()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_nothing(tmp_path, error):
    def fail():
        raise error

    with pytest.raises(error):
        write_then(tmp_path / "out", fail)
    assert os.listdir(tmp_path) == []


def test_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    with stage_outputs(tmp_path / "out") as stage:
        (stage / "a").touch()
    assert os.listdir(tmp_path / "out") == ["a"]


@pytest.mark.parametrize("kind", ["full", "file", "link", "in a file"])
def test_what_exists_is_refused(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "full":
        (out / "mine").mkdir(parents=True)
    elif kind == "file":
        out.touch()
    elif kind == "in a file":
        out.touch()
        out = out / "below"
    else:
        out.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError) as caught, stage_outputs(out):
        pass
    assert (caught.value.code, caught.value.field) == ("output_exists", "out")
    assert os.listdir(tmp_path) == ["out"]


def test_folder_filled_meanwhile_is_not_overwritten(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(EngineError, match="already exists"):
        write_then(out, lambda: (out / "theirs").mkdir(parents=True))
    assert os.listdir(out) == ["theirs"]
    assert os.listdir(tmp_path) == ["out"]


KILLED = """
import sys, time, pathlib
from deepseek.job import stage_outputs
with stage_outputs(pathlib.Path(sys.argv[1])) as stage:
    (stage / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def killed_run(out):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def test_killed_run_leaves_no_output_and_the_next_sweeps_up(tmp_path):
    out = tmp_path / "out"
    process = killed_run(out)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    (left,) = tmp_path.iterdir()
    old = time.time() - 2 * STALE_SECONDS
    os.utime(left, (old, old))
    with stage_outputs(out) as stage:
        (stage / "whole").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "whole"]


def test_running_twin_is_not_swept(tmp_path):
    process = killed_run(tmp_path / "out")
    (alive,) = tmp_path.iterdir()
    os.utime(alive, (0, 0))
    with stage_outputs(tmp_path / "out"):
        pass
    assert alive.exists()
    process.kill()
    process.wait()


def test_a_checkpoint_lies_beside_the_output_folder_whatever_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build_checkpoint_path(Path("models/out")) == tmp_path / "models" / ".out.checkpoint"
