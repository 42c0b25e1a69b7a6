"""What the engine's tests share: a report that records, a way to write a table, and the command line."""

import contextlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from deepseek.cli import main

SCRIPT = Path(sys.executable).with_name("deepseek")


class Recorder:
    """A Report that keeps everything it receives."""

    def __init__(self):
        self.stages, self.metrics, self.lines, self.checkpoints = [], {}, [], []
        self.points = []  # every metric that came, in order

    def progress(self, done, total, unit, *, stage=""):
        self.stages.append((stage, done, total, unit))

    def metric(self, name, value, step=0):
        self.metrics[name] = value
        self.points.append((name, step, value))

    def log(self, text, *, level="info"):
        self.lines.append((level, text))

    def checkpoint(self, path, step):
        self.checkpoints.append((path, step))


@pytest.fixture
def report():
    return Recorder()


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to a file of the test's folder and return its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@contextlib.contextmanager
def preserve_torch():
    """Restore torch's threads, strictness and random numbers, where a command has loaded torch."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def call_main(words, folder, env):
    """Run the command line in this process: in `folder`, with `env` alone as environment, and its output captured.

    A console script differs only in its handler of SIGTERM and in its imports, which `run_script` covers.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        preserve_torch(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in os.environ:
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def run_script(words, folder, env):
    """Run the installed console script as a process of its own."""
    command = [str(SCRIPT), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env, timeout=120, check=False)


@pytest.fixture
def deepseek(tmp_path):
    """Call the command line in the test's folder, with an empty environment: deepseek(*words, env={}) -> its end."""
    return lambda *words, env=(): call_main(list(map(str, words)), tmp_path, dict(env))


@pytest.fixture
def deepseek_script(tmp_path):
    """The same by the console script, where the process itself is what is tested."""
    return lambda *words, env=(): run_script(list(map(str, words)), tmp_path, dict(env))
