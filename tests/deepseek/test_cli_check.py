"""`deepseek profile --check`, as a person and as a program runs it."""

import json
import os

import pytest

from deepseek.cli import main

HIGH = ["--expectations", '[{"kind": "range", "column": "x", "maximum": 2}]']


@pytest.fixture
def check(write, capsys):
    """check(table, words...) -> the exit code, and what was printed for the program."""

    def run(table, *words):
        code = main(["profile", str(write(table)), "--check", *HIGH, *words])
        return code, capsys.readouterr().out

    return run


def test_what_holds_is_told_and_nothing_written(check, tmp_path):
    code, said = check("x\n1\n2\n")
    assert (code, said.splitlines()) == (0, ["checked 2 rows; nothing was written", "pass: range x: <= 2"])
    assert os.listdir(tmp_path) == ["table.csv"]


@pytest.mark.parametrize(("table", "error"), [("x\n1\n3\n", "expectation_failed"), ("x,y\n1\n", "csv_broken_row")])
def test_a_program_is_told_what_does_not_hold(check, table, error):
    code, said = check(table, "--json")
    assert code == 2
    assert [one["code"] for one in json.loads(said)["errors"]] == [error]


@pytest.mark.parametrize("words", [["profile", "--check"], ["clean", "--explain"]])
def test_what_writes_nothing_takes_no_folder(write, capsys, words):
    with pytest.raises(SystemExit) as ended:
        main([words[0], str(write("x\n1\n")), words[1], "-o", "out"])
    assert ended.value.code == 2
    assert f"-o/--out goes not with {words[1]}" in capsys.readouterr().err


def test_without_it_a_folder_is_to_be_named(write, capsys):
    with pytest.raises(SystemExit):
        main(["profile", str(write("x\n1\n"))])
    assert "--out" in capsys.readouterr().err
