"""Measuring a table as a job: the report, what it refuses, and that a refusal leaves nothing."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.clean.run import run as clean
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError, Silent
from deepseek.partitions import csv_reading
from deepseek.profile.run import run
from deepseek.profile.spec import ProfileSpec

ROWS = "a;b\n1;x\n2;\n300;y\n"
RANGE = {"kind": "range", "column": "a", "maximum": 100}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(ROWS)
    return path


def measured(table, out, **spec):
    result = run(ProfileSpec(csv={"delimiter": ";"}, **spec), inputs={"table": table}, out=out / "out", report=Silent())
    return result, json.loads((out / "out/quality.json").read_text())


def test_the_report_is_the_only_output(table, tmp_path):
    result, report = measured(table, tmp_path)
    assert [output.slot for output in result.outputs] == ["quality"]
    assert (report["rows"], report["columns"][1]["missing"], report["expectations"]) == (3, 1, [])
    assert result.outputs[0].meta["format"] == "csv"
    assert result.outputs[0].meta["csv"] == {"delimiter": ";", "encoding": "utf-8"}
    assert result.outputs[0].meta["columns"][0] == {"name": "a", "dtype": "int64"}


def test_several_processes_make_the_same_report(tmp_path):
    """Of a table in parts with a column of lists: the report, and what a version records of the table."""
    (tmp_path / "parts").mkdir()
    for number in range(2):
        part = pa.table({"a": [1.5 * number, None, 3.0], "l": [[1], None, [number]]})
        pq.write_table(part, tmp_path / f"parts/{number}.parquet")
    answers = []
    for processes in (1, 2):
        spec = ProfileSpec(processes=processes, expectations=[{"kind": "not_null", "column": "a"}], on_failure="report")
        out = tmp_path / f"out-{processes}"
        result = run(spec, inputs={"table": tmp_path / "parts"}, out=out, report=Silent())
        answers.append((result.outputs[0].meta, result.summary, json.loads((out / "quality.json").read_text())))
        assert [path.name for path in out.iterdir()] == ["quality.json"]
    assert answers[0] == answers[1]
    assert (answers[0][0]["rows"], answers[0][0]["expectations_failed"]) == (6, 1)


class ReadStates(Silent):
    """Keeps the states of the partitions."""

    def __init__(self):
        self.states = []

    def partitions(self, state):
        self.states.append(state)


def test_ranges_of_a_csv_file_make_the_same_report(tmp_path, monkeypatch):
    """Of cells of several lines and a column that turns to text in a late range; and what a version records."""
    monkeypatch.setattr(csv_reading, "MIN_BYTES_IN_RANGES", 1)
    monkeypatch.setattr(csv_reading, "RANGE_BYTES", 100)
    rows = "\n".join(
        f'{row},{row % 7 or ""},{row if row < 50 else "no"},"a\nb {row % 3}",2026-01-{row % 28 + 1:02}'
        for row in range(60)
    )
    (tmp_path / "table.csv").write_text(f"k,x,late,t,day\n{rows}")
    expectations = [{"kind": "unique", "columns": ["k"]}, {"kind": "not_null", "column": "x"}]
    answers, states = [], {}
    for processes in (1, 2):
        spec = ProfileSpec(processes=processes, expectations=expectations, on_failure="report")
        out, report = tmp_path / f"out-{processes}", ReadStates()
        result = run(spec, inputs={"table": tmp_path / "table.csv"}, out=out, report=report)
        answers.append((result.outputs[0].meta, result.summary, json.loads((out / "quality.json").read_text())))
        states[processes] = report.states
    correlations = [answer[2].pop("correlations") for answer in answers]
    assert answers[0] == answers[1]
    for name in ("pearson", "spearman"):
        one, ranged = ([cell for row in each[name] for cell in row] for each in correlations)
        assert ranged == pytest.approx(one, abs=1e-11)
    assert (answers[1][0]["rows"], answers[1][0]["expectations_failed"]) == (60, 1)
    assert "until row 51" in str(answers[1][1]["warnings"])
    assert max(state["total"] for state in states[2] if state) > 2  # ranges: the rows are two partitions


def test_how_the_text_is_written_is_found_and_told(tmp_path):
    (tmp_path / "t.csv").write_bytes("城市;价\n北京;1\n上海;2\n".encode("gb18030"))
    spec = ProfileSpec(csv={"delimiter": "auto", "encoding": "auto"})
    result = run(spec, inputs={"table": tmp_path / "t.csv"}, out=tmp_path / "out", report=Silent())
    assert result.outputs[0].meta["csv"] == {"delimiter": ";", "encoding": "gb18030"}
    assert [column["name"] for column in result.outputs[0].meta["columns"]] == ["城市", "价"]


def test_json_lines_are_a_table_too(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": null}\n')
    result = run(ProfileSpec(), inputs={"table": tmp_path / "t.jsonl"}, out=tmp_path / "out", report=Silent())
    meta = result.outputs[0].meta
    assert (meta["format"], meta["rows"], "csv" in meta) == ("json", 2, False)


def test_a_column_of_lists_is_measured(tmp_path):
    pq.write_table(pa.table({"a": [[1], [2, 3], None]}), tmp_path / "t.parquet")
    run(ProfileSpec(), inputs={"table": tmp_path / "t.parquet"}, out=tmp_path / "out", report=Silent())
    report = json.loads((tmp_path / "out/quality.json").read_text())
    assert (report["columns"][0]["missing"], report["duplicate_rows"]) == (1, None)


def test_what_does_not_hold_fails_the_job_and_leaves_nothing(table, tmp_path):
    with pytest.raises(EngineError) as refused:
        measured(table, tmp_path, expectations=[RANGE])
    assert (refused.value.code, refused.value.value) == ("expectation_failed", "row 3: 300")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv"]


def test_or_is_reported(table, tmp_path):
    result, report = measured(table, tmp_path, expectations=[RANGE], on_failure="report")
    assert report["expectations"][0]["verdict"] == "fail"
    assert result.summary["expectations_failed"] == 1


def test_a_warning_stands_in_the_report(table, tmp_path):
    _, report = measured(table, tmp_path, expectations=[{**RANGE, "severity": "warning"}])
    assert report["expectations"][0]["verdict"] == "warn"
    assert "1 of 3 rows break it" in report["warnings"][0]


def test_a_cleaning_is_checked_after_its_last_step(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n\n3\n")
    (tmp_path / "t.csv").write_text("a,b\n1,1\n,2\n3,3\n")
    filled = CleanSpec(window_size=3, expectations=[{"kind": "not_null", "column": "a"}])
    clean(filled, inputs={"table": tmp_path / "t.csv"}, out=tmp_path / "one", report=Silent())
    told = json.loads((tmp_path / "one/quality_after.json").read_text())
    assert (told["expectations"][0]["verdict"], told["drift"]["verdict"]) == ("pass", "changed")
    left = filled.model_copy(update={"fill": "none"})
    with pytest.raises(EngineError, match="not_null a"):
        clean(left, inputs={"table": tmp_path / "t.csv"}, out=tmp_path / "two", report=Silent())
    assert not (tmp_path / "two").exists()
    assert "drift" not in json.loads((tmp_path / "one/quality_before.json").read_text())


def test_one_table_and_no_more(table, tmp_path):
    with pytest.raises(EngineError, match="one input"):
        run(ProfileSpec(), inputs={}, out=tmp_path / "out", report=Silent())
