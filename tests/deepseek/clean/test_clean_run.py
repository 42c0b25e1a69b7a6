"""The whole run: outputs, summary, refusals, determinism."""

import json
import os

import pyarrow.parquet as pq
import pytest

from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError, Silent

TEXT = "day,x,k,t,e\n2024-01-01,1.5,1,a,\n2024-01-02,,,b,\n2024-01-03,2.5,3,c,\n"


@pytest.fixture
def clean(write, tmp_path, report):
    def clean(text=TEXT, out="out", **spec):
        return run(CleanSpec(**spec), inputs={"table": write(text)}, out=tmp_path / out, report=report)

    return clean


def test_outputs(clean, tmp_path):
    result = clean()
    assert {output.slot: output.path for output in result.outputs} == {
        "table": "table.parquet",
        "quality_before": "quality_before.json",
        "quality_after": "quality_after.json",
    }
    assert sorted(os.listdir(tmp_path / "out")) == sorted(output.path for output in result.outputs)
    table = pq.read_table(tmp_path / "out" / "table.parquet")
    assert table.column("x").to_pylist() == [1.5, 2.0, 2.5]
    assert table.column("t").to_pylist() == ["a", "b", "c"]


def test_meta_and_summary(clean):
    result = clean()
    assert result.outputs[0].meta == {
        "rows": 3,
        "filled": 2,
        "origins": "kept",
        "columns": [
            {"name": "day", "dtype": "date32[day]"},
            {"name": "x", "dtype": "double"},
            {"name": "k", "dtype": "int64"},
            {"name": "t", "dtype": "string"},
            {"name": "e", "dtype": "null"},
        ],
    }
    assert (result.rows, result.filled, result.summary["still_missing"]) == (3, {"x": 1, "k": 1}, {"x": 0, "k": 0})


def test_empty_column_is_left_with_a_warning(clean, report, tmp_path):
    warning = "Column 'e' has no value at all and was left as it is."
    assert clean().summary["warnings"] == [warning]
    assert ("warning", warning) in report.lines
    assert json.loads((tmp_path / "out" / "quality_after.json").read_text())["warnings"] == [warning]


def test_quality_before_and_after(clean, tmp_path):
    clean(columns=["x"])
    before, after = (json.loads((tmp_path / f"out/quality_{when}.json").read_text()) for when in ("before", "after"))
    assert [c["missing"] for c in before["columns"]] == [0, 1, 1, 0, 3]
    assert [c["missing"] for c in after["columns"]] == [0, 0, 1, 0, 3]


def test_flags_follow_their_column(clean, tmp_path):
    clean(columns=["x"], outliers={"method": "iqr"})
    assert pq.read_schema(tmp_path / "out/table.parquet").names == ["day", "x", "x__outlier", "k", "t", "e"]


@pytest.mark.parametrize(
    ("columns", "code", "hint"),
    [
        (["e"], "column_all_missing", "missing tokens"),
        (["x", "t"], "column_not_numeric", "Data row 1 holds 'a'"),
        (["day"], "column_not_numeric", "Leave the column out"),
        (["y"], "unknown_column", "'x'"),
    ],
)
def test_unfit_columns_are_named(clean, tmp_path, columns, code, hint):
    with pytest.raises(EngineError) as caught:
        clean(columns=columns)
    assert (caught.value.code, caught.value.value) == (code, columns[-1])
    assert caught.value.field == f"/columns/{len(columns) - 1}"
    assert hint in caught.value.hint
    assert sorted(os.listdir(tmp_path)) == ["table.csv"]


BIG = "id,x\n1,1\n,\n2,2\n1152921504606846977,3\n"


def test_big_identifiers_are_left_alone_unless_named(clean, tmp_path):
    result = clean(BIG, window_size=3)
    assert result.filled == {"x": 1}
    assert "'id' was left as it is" in result.summary["warnings"][0]
    assert pq.read_table(tmp_path / "out/table.parquet").column("id").to_pylist() == [1, None, 2, 2**60 + 1]
    with pytest.raises(EngineError, match="beyond 2"):
        clean(BIG, "other", columns=["id"], window_size=3)


def test_taken_name_of_a_flag_column(clean):
    with pytest.raises(EngineError, match="x__outlier"):
        clean("x,x__outlier\n1,2\n", columns=["x"], outliers={"method": "iqr"})


@pytest.mark.parametrize("slots", [[], ["data"], ["table", "more"]])
def test_other_slots_are_refused(write, tmp_path, slots):
    with pytest.raises(EngineError, match="one input"):
        run(CleanSpec(), inputs=dict.fromkeys(slots, write(TEXT)), out=tmp_path / "out", report=Silent())


def test_same_input_and_spec_give_the_same_bytes(clean, tmp_path):
    rows = 140_000  # more than one row group
    text = "x,t\n" + "".join(f"{'' if i % 7 == 0 else i * 0.1},row {i}\n" for i in range(rows))
    results = [clean(text, out) for out in ("a", "b")]
    assert results[0] == results[1]
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_cleaning_again_changes_nothing(clean, tmp_path, report):
    clean()
    inputs = {"table": tmp_path / "out" / "table.parquet"}
    again = run(CleanSpec(), inputs=inputs, out=tmp_path / "again", report=report)
    assert again.filled == {"x": 0, "k": 0}
    assert (tmp_path / "again/table.parquet").read_bytes() == inputs["table"].read_bytes()


def test_progress_and_metrics(clean, report):
    clean()
    stages = list(dict.fromkeys(stage for stage, *_ in report.stages))
    assert stages == ["read", "profile", "clean", "write"]
    assert {unit for *_, unit in report.stages} == {"rows"}
    assert report.metrics == {"rows": 3, "filled": 2, "still_missing": 0, "outliers": 0}
