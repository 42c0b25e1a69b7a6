"""What the engine's tests share: a report that remembers, and a way to write a table."""

import subprocess
import sys
from pathlib import Path

import pytest


class Recorder:
    """A Report that keeps what it was told."""

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


@pytest.fixture
def deepseek(tmp_path):
    """Run the installed console script in the test's folder, with an empty environment."""
    script = Path(sys.executable).with_name("deepseek")

    def call(*words):
        command = [str(script), *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={}, timeout=60, check=False)

    return call
