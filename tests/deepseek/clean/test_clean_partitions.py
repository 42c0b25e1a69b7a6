"""A job's cleaning in partitions: the same bytes of the table, the same reports, counts and log as in one piece."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError, Silent
from deepseek.partitions import csv_reading
from tests.deepseek.table_files import write_files

ROWS = 500
PLAN = [
    {"kind": "filter", "conditions": [{"column": "k", "op": "gt", "value": "20"}]},
    {"kind": "outliers", "columns": ["y"], "action": "cap"},
    {"kind": "fill_forward", "columns": ["x"]},
    {"kind": "deduplicate", "columns": ["k"]},
]
SPECS = {
    "simple": {"outliers": {"method": "iqr", "action": "blank"}, "window_size": 9},
    "plan": {
        "steps": PLAN,
        "expectations": [{"kind": "range", "column": "x", "minimum": -1, "maximum": 50, "severity": "warning"}],
    },
}


class Recorder(Silent):
    """Keeps the log, and the states of the partitions."""

    def __init__(self):
        self.lines, self.states = [], []

    def log(self, text, *, level="info"):
        self.lines.append((level, str(text)))

    def partitions(self, state):
        self.states.append(state)


@pytest.fixture
def clean(tmp_path):
    """clean(path, **spec) -> (the folder of outputs, the result, what was reported)."""

    def do(path, **spec):
        out, report = tmp_path / f"out-{len(list(tmp_path.iterdir()))}", Recorder()
        result = run(CleanSpec(**spec), inputs={"table": path}, out=out, report=report)
        names = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
        assert names == {output.path for output in result.outputs}
        return out, result, report

    return do


@pytest.fixture
def table(tmp_path):
    random = np.random.default_rng(5)
    x, y = random.normal(0, 2, ROWS), random.normal(10, 1, ROWS)
    x[random.integers(0, ROWS, 40)] = np.nan
    y[[3, 77, 400]] = [900, -900, np.nan]
    table = pa.table({"k": random.integers(0, 350, ROWS), "x": x, "y": y, "t": ["a", None] * (ROWS // 2)})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=90)
    (tmp_path / "parts").mkdir()
    write_files(table, tmp_path / "parts", 4)
    return table


def read_reports(out):
    documents = [json.loads((out / f"quality_{name}.json").read_text()) for name in ("before", "after")]
    return [{key: value for key, value in document.items() if key != "correlations"} for document in documents]


@pytest.mark.parametrize("name", SPECS)
def test_partitions_give_the_same_bytes_and_reports(clean, table, tmp_path, name):
    expected, whole, told = clean(tmp_path / "table.parquet", **SPECS[name])
    out, parts, report = clean(tmp_path / "table.parquet", partitions=7, **SPECS[name])
    tables = [pq.read_table(out / output.path) for output in parts.outputs if output.slot.startswith("table/")]
    assert len(tables) == 7
    assert pa.concat_tables(tables).equals(pq.read_table(expected / "table.parquet"))
    assert read_reports(out) == read_reports(expected)
    assert parts.summary == whole.summary
    assert set(told.lines) <= set(report.lines)
    if name == "plan":
        assert (out / "origins.bin").read_bytes() == (expected / "origins.bin").read_bytes()
    last = [state for state in report.states if state][-1]
    assert (last["done"], last["total"], last["running"], last["again"]) == (7, 7, [], [])

    joined, of_folder, _ = clean(tmp_path / "parts", **SPECS[name])
    files = [output.path for output in of_folder.outputs if output.slot.startswith("table/")]
    assert len(files) == 4
    assert pa.concat_tables(pq.read_table(joined / file) for file in files).equals(
        pq.read_table(expected / "table.parquet")
    )


def test_two_processes_write_the_same_file(clean, tmp_path, monkeypatch):
    """A CSV file, read in ranges, becomes one file of the same bytes, so its digest is as of one process."""
    monkeypatch.setattr(csv_reading, "MIN_BYTES_IN_RANGES", 1)
    monkeypatch.setattr(csv_reading, "RANGE_BYTES", 100)
    rows = "\n".join(f'{row % 7},{row},{row if row < 50 else "no"},"a\nb"' for row in range(60))
    (tmp_path / "table.csv").write_text(f"k,x,late,t\n{rows}")
    spec = {"steps": [{"kind": "fill_forward", "columns": ["x"]}]}
    expected, whole, told = clean(tmp_path / "table.csv", **spec)
    out, ranges, report = clean(tmp_path / "table.csv", processes=2, **spec)
    assert (out / "table.parquet").read_bytes() == (expected / "table.parquet").read_bytes()
    assert read_reports(out) == read_reports(expected)
    assert ranges.summary == whole.summary
    warnings = [[text for level, text in lines if level == "warning"] for lines in (report.lines, told.lines)]
    assert warnings[0] == warnings[1]
    assert any("until row 51" in str(warning) for warning in ranges.summary["warnings"])
    read = [state for state in report.states if state and state["total"] > 2]  # the plan has two partitions
    assert (read[-1]["done"], read[-1]["rows"]) == (read[-1]["total"], read[-1]["total_rows"])


def test_a_failed_expectation_leaves_nothing(clean, table, tmp_path):
    expectations = [{"kind": "range", "column": "y", "minimum": 0, "maximum": 20}]
    errors = []
    for more in ({}, {"partitions": 3}):
        with pytest.raises(EngineError) as caught:
            clean(tmp_path / "table.parquet", expectations=expectations, fill="none", **more)
        errors.append((caught.value.code, str(caught.value)))
    assert errors[0] == errors[1]
    assert not [*tmp_path.glob("out-*"), *tmp_path.glob(".*staging")]
