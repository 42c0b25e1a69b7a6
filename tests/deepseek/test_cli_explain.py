"""`deepseek clean --explain`, as a person and as a program runs it."""

import json
import os

import pytest

TABLE = "x,t\n1,a\n,b\n3,c\n"


def test_tells_and_writes_nothing(deepseek, write, tmp_path):
    run = deepseek("clean", write(TABLE), "--explain")
    assert run.returncode == 0, run.stderr
    assert "  row 2, x: missing -> 2 (filled)" in run.stdout.splitlines()
    assert os.listdir(tmp_path) == ["table.csv"]


def test_tells_a_program(deepseek, write):
    run = deepseek("clean", write(TABLE), "--explain", "--json", "--sample", "2")
    told = json.loads(run.stdout)
    assert (told["schema"], told["rows"], told["whole"]) == ("plane/clean-sample/v1", 2, False)


@pytest.mark.parametrize(
    ("words", "fields"), [(["--columns", "y"], ["/columns/0"]), (["--window-size", "0"], ["/window_size"])]
)
def test_a_program_is_told_the_faults_too(deepseek, write, words, fields):
    run = deepseek("clean", write(TABLE), "--explain", "--json", *words)
    assert run.returncode == 2
    assert [error["field"] for error in json.loads(run.stdout)["errors"]] == fields


@pytest.mark.parametrize("words", [[], ["--explain", "--sample", "0"], ["--explain", "--head-bytes", "many"]])
def test_what_cannot_be_meant_is_refused(deepseek, write, words):
    run = deepseek("clean", write(TABLE), *words)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_other_commands_have_no_explanation(deepseek, write):
    assert "--explain" in deepseek("train", write(TABLE), "--explain").stderr
