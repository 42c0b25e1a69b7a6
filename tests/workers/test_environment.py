"""What the engine finds around it: enough for torch and a compiler, and nothing of the worker's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from workers.process import MARKER, build_marker, clean_environment

LOOK = """
import getpass, json, os, shutil, tempfile
import torch
print(json.dumps({
    "threads": torch.get_num_threads(), "gpus": torch.cuda.device_count(), "user": getpass.getuser(),
    "home": os.path.expanduser("~"), "tmp": tempfile.gettempdir(), "compiler": bool(shutil.which("g++")),
}))
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "of the worker")
    monkeypatch.setenv("DATABASE_URL", "postgres://plane:secret@db/plane")
    # Of a worker that lives, this process: a worker that starts beside it kills what those that have died left behind.
    return clean_environment(tmp_path, build_marker(7, 1), 2.5, [])


def test_torch_runs_with_the_jobs_threads_and_writes_to_the_scratch_alone(environment, tmp_path):
    command = [sys.executable, "-I", "-c", LOOK]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    here = str(tmp_path)
    assert found == {
        "threads": 2,
        "gpus": 0,
        "user": "engine",
        "home": here,
        "tmp": here,
        "compiler": os.access("/usr/bin/g++", os.X_OK),
    }


def test_nothing_of_the_worker_gets_through(environment):
    assert not {"SECRET_KEY", "DATABASE_URL", "PYTHONPATH", "USER"} & set(environment)
    assert environment[MARKER] == build_marker(7, 1)


@pytest.mark.parametrize(("cpus", "threads"), [(0.1, "1"), (1.0, "1"), (3.9, "3")])
def test_every_library_begins_with_the_same_threads(tmp_path, cpus, threads):
    made = clean_environment(tmp_path, "7:1:2:3", cpus, [0, 3])
    assert {value for name, value in made.items() if name.endswith("_NUM_THREADS")} == {threads}
    assert made["CUDA_VISIBLE_DEVICES"] == "0,3"
