"""The command line: what it prints, what it refuses, and its exit codes.

Most tests call it in this process; those of the console script, its environment and its signals start one.
"""

import json
import os
import signal
import subprocess
import time

import pyarrow.parquet as pq
import pytest

from tests.deepseek.conftest import SCRIPT

TABLE = "x,t\n1,a\n,b\n3,c\n"


def fine(run):
    """Check that a run succeeded, and return it."""
    assert run.returncode == 0, run.stderr
    return run


def refused(run, *parts):
    """Check that a run was refused with exit code 2, and that its errors name `parts`."""
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    for part in parts:
        assert part in run.stderr


def test_clean_as_a_process_with_an_empty_environment(deepseek_script, write, tmp_path):
    run = fine(deepseek_script("clean", write(TABLE), "-o", "out", "--window-size", 3, "--columns", "x"))
    assert run.stdout.splitlines()[:2] == ["rows: 3", "filled: x 1"]
    assert run.stderr.splitlines()[0] == "read"
    assert pq.read_table(tmp_path / "out/table.parquet").column("x").to_pylist() == [1, 2, 3]


def test_clean_prints_json(deepseek, write):
    run = fine(deepseek("clean", write(TABLE), "-o", "out", "--json"))
    assert json.loads(run.stdout)["summary"]["filled"] == {"x": 1}


def test_flags_go_before_the_spec_file(deepseek, write):
    spec = write(json.dumps({"window_size": 1, "outliers": {"method": "iqr", "action": "cap"}}), "spec.json")
    words = ["--spec", spec, "--window-size", "3", "--outlier-action", "flag", "--json"]
    result = json.loads(fine(deepseek("clean", write(TABLE), "-o", "out", *words)).stdout)
    assert result["summary"]["filled"] == {"x": 1}
    assert [c["name"] for c in result["outputs"][0]["meta"]["columns"]] == ["x", "x__outlier", "t"]


def test_every_fault_of_the_spec_is_named(deepseek, write, tmp_path):
    words = ["--window-size", "0", "--outliers", "iqr", "--outlier-threshold", "-1"]
    run = deepseek("clean", write(TABLE), "-o", "out", *words)
    refused(run, "field: /window_size", "value: '0'", "limit: at least 1", "field: /outliers/threshold")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        (None, ["--columns", "t"], ["'t' is not numeric", "field: /columns/0", "value: t", "limit:", "hint:"]),
        (None, ["--columns", "y"], ["no column 'y'"]),
        ("a,b\n1\n", [], ["Row 2 has 1 cell, the header has 2", "field: inputs/table"]),
        ("", [], ["empty"]),
        (None, ["--spec", "absent.json"], ["Cannot read the spec", "absent.json"]),
        (None, ["--nonsense", "1"], ["--nonsense"]),
    ],
)
def test_bad_input_is_explained(deepseek, write, tmp_path, text, words, parts):
    refused(deepseek("clean", write(TABLE if text is None else text), "-o", "out", *words), *parts)
    assert os.listdir(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000], ids=["a list", "cut short", "nested too deep"])
def test_bad_spec_file(deepseek, write, text):
    refused(deepseek("clean", write(TABLE), "-o", "out", "--spec", write(text, "spec.json")), "spec.json")


def test_existing_output_is_refused(deepseek, write, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    refused(deepseek("clean", write(TABLE), "-o", "out"), "not empty", "hint:")
    assert os.listdir(tmp_path / "out") == ["mine"]


def test_noop_takes_named_inputs(deepseek, write, tmp_path):
    run = fine(deepseek("noop", "-o", "out", "--input", f"a={write(TABLE)}", "--echo", "hi", "--json"))
    assert list(json.loads(run.stdout)["summary"]["inputs"]) == ["a"]
    assert (tmp_path / "out/echo.txt").read_text() == "hi"
    refused(deepseek("noop", "-o", "out2", "--input", "a"), "SLOT=FILE")


@pytest.mark.parametrize(("fail", "code", "part"), [("error", 2, "asked to fail"), ("exception", 1, "internal error")])
def test_a_process_that_fails_has_its_exit_code(deepseek_script, tmp_path, fail, code, part):
    run = deepseek_script("noop", "-o", "out", "--fail", fail)
    assert run.returncode == code
    assert part in run.stderr
    assert "Traceback" not in run.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_run_leaves_nothing(tmp_path, number, code):
    command = [SCRIPT, "noop", "-o", "out", "--seconds", "60"]
    # A suite started in the background has SIGINT ignored, and a child would inherit that.
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)
    )
    end = time.monotonic() + 20
    while not os.listdir(tmp_path) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert os.listdir(tmp_path) == []


def test_version_and_help(deepseek):
    assert fine(deepseek("--version")).stdout.startswith("deepseek-offline ")
    assert "clean" in fine(deepseek("--help")).stdout
    words = " ".join(fine(deepseek("clean", "--help")).stdout.split())
    assert "(at least 1, at most 100001; default: 5)" in words
    assert deepseek().returncode == 2
    assert deepseek("frobnicate").returncode == 2
