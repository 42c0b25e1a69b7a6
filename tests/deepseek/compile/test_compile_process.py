"""Compiling as a process, in the environment of a worker's child: almost empty, with a scratch folder as its home."""

import os
import signal
import subprocess
import time

import numpy as np
import psutil
import pytest

from deepseek.models.predictor import load_predictor
from tests.deepseek.conftest import SCRIPT
from tests.deepseek.models.making import make_model


@pytest.fixture
def start(tmp_path, compiler):
    """Begin to compile `model` to `out`; words are flags."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": scratch, "TMPDIR": scratch, "OMP_NUM_THREADS": "1"}
    make_model(tmp_path / "model", hidden=(192, 192))  # just large enough for a kernel in parallel

    def start(*words):
        command = [SCRIPT, "compile", tmp_path / "model", "-o", tmp_path / "out", "--batch", "32", "--runs", "10"]
        return subprocess.Popen(
            [*command, *words], env=clean, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    yield start
    assert not [found for found in psutil.process_iter() if home(found) == str(scratch)]


def home(process):
    try:
        return process.environ().get("HOME")
    except psutil.Error:
        return None


@pytest.mark.e2e  # a process with a compiler below it is killed
def test_a_run_killed_while_tuning_leaves_nothing_and_the_next_one_succeeds(start, tmp_path):
    """The next run takes two threads; here, for TVM's threads stay as a process first started them."""
    process = start()
    while not process.stderr.readline().startswith("tune"):
        assert process.poll() is None
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out").exists()

    again = start("--trials", "4", "--threads", "2")
    told = again.communicate()[1]
    assert again.returncode == 0, told
    assert "Warning" not in told
    schedules = (tmp_path / "out/schedules.jsonl").read_text()
    assert '"parallel":true' in schedules, "measured; on a busy machine one thread may be faster"
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    trained, compiled = (load_predictor(tmp_path / name).predict(rows) for name in ("model", "out"))
    assert np.allclose(compiled, trained, rtol=1e-5, atol=1e-6)
