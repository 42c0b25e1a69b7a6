"""The job that does nothing, in each way it can."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from deepseek.job import EngineError, Silent
from deepseek.noop.run import run
from deepseek.noop.spec import NoopSpec

PROGRAM = """
import pathlib, sys
from deepseek.job import Silent
from deepseek.noop.run import run
from deepseek.noop.spec import NoopSpec
spec = NoopSpec.model_validate_json(sys.argv[1])
run(spec, inputs={}, out=pathlib.Path(sys.argv[2]), report=Silent())
"""


def start(tmp_path, **spec):
    text = NoopSpec(**spec).model_dump_json()
    return subprocess.Popen([sys.executable, "-c", PROGRAM, text, str(tmp_path / "out")], stderr=subprocess.DEVNULL)


def test_outputs_and_digests(write, tmp_path):
    inputs = {"b": write("two", "b"), "a": write("one", "a")}
    result = run(NoopSpec(echo="你好\n"), inputs=inputs, out=tmp_path / "out", report=Silent())
    digest = hashlib.sha256(b"one").hexdigest()
    assert [output.slot for output in result.outputs] == ["note", "echo"]
    assert result.summary["inputs"]["a"] == digest
    assert json.loads((tmp_path / "out/note.json").read_text())["inputs"]["a"] == digest
    assert (tmp_path / "out/echo.txt").read_bytes() == "你好\n".encode()


def test_note_has_no_time_in_it(tmp_path):
    for out in ("a", "b"):
        run(NoopSpec(steps=3), inputs={}, out=tmp_path / out, report=Silent())
    assert (tmp_path / "a/note.json").read_bytes() == (tmp_path / "b/note.json").read_bytes()


def test_steps_and_lines_are_reported(tmp_path, report):
    began = time.monotonic()
    run(NoopSpec(seconds=0.2, steps=4, log_lines=10), inputs={}, out=tmp_path / "out", report=report)
    assert time.monotonic() - began >= 0.2
    assert [done for _, done, total, unit in report.stages if (total, unit) == (4, "steps")] == [1, 2, 3, 4]
    assert [text for _, text in report.lines] == [f"line {i} of 10" for i in range(1, 11)]


@pytest.mark.parametrize(
    ("fail", "error"), [("error", EngineError), ("exception", RuntimeError), ("memory", MemoryError)]
)
def test_failures_leave_nothing(tmp_path, fail, error):
    with pytest.raises(error):
        run(NoopSpec(fail=fail, memory_mib=16), inputs={}, out=tmp_path / "out", report=Silent())
    assert os.listdir(tmp_path) == []


def test_crash_is_a_signal(tmp_path):
    assert start(tmp_path, fail="crash").wait(60) == -signal.SIGSEGV
    assert not (tmp_path / "out").exists()


def test_hang_ignores_a_request_to_stop(tmp_path):
    process = start(tmp_path, fail="hang")
    wanted = 1 << (signal.SIGTERM - 1) | 1 << (signal.SIGINT - 1)
    try:
        wait_for(lambda: ignored_signals(process.pid) & wanted == wanted)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
    finally:
        process.kill()
        process.wait()


def ignored_signals(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(next(line for line in file if line.startswith("SigIgn")).split()[1], 16)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_children_stay_in_sessions_of_their_own(tmp_path, report):
    run(NoopSpec(children=2), inputs={}, out=tmp_path / "out", report=report)
    children = [int(text.split()[-1]) for _, text in report.lines]
    try:
        assert len(children) == 2
        assert [os.getsid(pid) for pid in children] == children
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_unreadable_input_is_named(tmp_path):
    with pytest.raises(EngineError) as caught:
        run(NoopSpec(), inputs={"a": tmp_path / "absent"}, out=tmp_path / "out", report=Silent())
    assert caught.value.code == "input_unreadable"
