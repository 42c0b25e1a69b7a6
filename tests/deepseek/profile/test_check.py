"""What is expected, checked alone: told expectation by expectation, as JSON, and nothing is written."""

import pytest

from deepseek.job import EngineError
from deepseek.profile import check
from deepseek.profile.check import check_table, format_lines
from deepseek.profile.spec import ProfileSpec

RANGE = {"kind": "range", "column": "a", "maximum": 100}
UNIQUE = {"kind": "unique", "columns": ["a"]}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a;b\n1;x\n2;\n300;y\n1;z\n")
    return path


def checked(table, *expectations, **more):
    return check_table(ProfileSpec(csv={"delimiter": ";"}, expectations=list(expectations), **more), table)


def test_each_is_told_and_every_error_that_does_not_hold(table, tmp_path):
    told, errors = checked(table, RANGE, {"kind": "not_null", "column": "b", "severity": "warning"}, UNIQUE)
    assert [one["verdict"] for one in told["expectations"]] == ["fail", "warn", "fail"]
    assert told["warnings"] == ["The expectation 2 (not_null b) does not hold: 1 of 4 rows break it."]
    assert [(error.code, error.field, error.value) for error in errors] == [
        ("expectation_failed", "/expectations/0", "row 3: 300"),
        ("expectation_failed", "/expectations/2", "row 4: as in row 1"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert list(format_lines(told))[:2] == ["checked 4 rows; nothing was written", "fail: range a: <= 100"]


def test_who_asks_for_a_report_hears_no_error(table):
    told, errors = checked(table, RANGE, on_failure="report")
    assert (told["expectations"][0]["verdict"], errors) == ("fail", [])


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1\n")
    with pytest.raises(EngineError) as refused:
        check_table(ProfileSpec(expectations=[RANGE]), tmp_path / "t.csv")
    assert refused.value.code == "csv_broken_row"


def test_memory_that_runs_out_is_no_fault_of_the_file(table, monkeypatch):
    def full(*_, **__):
        raise EngineError("broken_parquet", "It cannot be read.") from MemoryError("malloc")

    monkeypatch.setattr(check, "open_table", full)
    with pytest.raises(MemoryError):
        checked(table, RANGE)
