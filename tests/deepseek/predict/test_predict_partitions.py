"""Predictions of a table in partitions are those of the table in one piece, and a lost process leaves no trace."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError, Silent
from deepseek.models.folder import find_model_files
from deepseek.partitions import csv_reading
from deepseek.predict import partitioned
from deepseek.predict.run import run
from deepseek.predict.spec import PredictSpec
from tests.deepseek.models.making import make_model

ROWS = 300


@pytest.fixture
def table(tmp_path):
    random = np.random.default_rng(3)
    columns = {f"x{place}": random.normal(1, 2, ROWS) for place in range(3)}
    y = random.normal(5, 1, ROWS)
    y[[40, 199]] = np.nan
    table = pa.table({"id": list(range(ROWS)), **columns, "y": y})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=70)
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, (start, end) in enumerate([(0, 2), (2, 150), (150, 151), (151, ROWS)]):
        pq.write_table(table.slice(start, end - start), folder / f"part-{number}.parquet")
    return table


@pytest.fixture
def predict(tmp_path, table):
    """predict(task, source, **spec) -> (the table, the result, the names of the files in the folder of outputs)."""

    def do(task, source="table.parquet", **spec):
        folder, out = tmp_path / task, tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        if not folder.exists():
            make_model(folder, task=task, inputs=3, seed=1, classes=("no", "yes") if task == "classification" else ())
        inputs = {**find_model_files(folder), "table": tmp_path / source}
        result = run(PredictSpec(**spec), inputs=inputs, out=out, report=Silent())
        names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
        assert names == sorted(output.path for output in result.outputs)
        return pa.concat_tables(pq.read_table(out / output.path) for output in result.outputs), result, names

    return do


@pytest.mark.parametrize("task", ["regression", "classification", "forecast"])
def test_parts_hold_what_the_table_in_one_piece_holds(predict, task):
    expected, result, _ = predict(task, probabilities=True)
    for source, spec in (("table.parquet", {"partitions": 7}), ("parts", {}), ("parts", {"partitions": 9})):
        predicted, of_parts, names = predict(task, source, probabilities=True, **spec)
        assert predicted.schema == expected.schema
        assert predicted.select(["id", "y"]).equals(expected.select(["id", "y"]))
        for name in expected.column_names[5:]:
            one, other = predicted.column(name), expected.column(name)
            assert one.is_null().equals(other.is_null())
            if pa.types.is_string(one.type):
                assert one.equals(other)
            else:
                np.testing.assert_allclose(one.drop_null(), other.drop_null(), rtol=1e-5, atol=1e-6)
        assert of_parts.summary == result.summary
        assert len(names) >= 4
        assert names[0] == "table/part-00000.parquet"
        assert of_parts.outputs[0].slot == "table/part-00000.parquet"


def kill_once(task):
    lost = task.scratch.parent.parent / "lost"
    if task.partition == 1 and not lost.exists():
        lost.touch()
        Path(task.scratch, "predicted-00001-lost.parquet").write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    return partitioned.predict_partition(task)


def test_a_model_that_was_replaced_is_read_again(predict, tmp_path):
    before, _, _ = predict("regression", partitions=2)
    shutil.rmtree(tmp_path / "regression")
    make_model(tmp_path / "regression", task="regression", inputs=3, seed=2)
    after, _, _ = predict("regression", partitions=2)
    expected, _, _ = predict("regression")
    assert after.column("prediction") != before.column("prediction")
    assert np.allclose(after["prediction"].to_numpy(), expected["prediction"].to_numpy(), rtol=1e-5)


def test_a_killed_process_changes_nothing(predict, tmp_path, monkeypatch):
    """Two processes and one CSV file: the file that one process writes, though one of them was killed at work."""
    pyarrow.csv.write_csv(pq.read_table(tmp_path / "table.parquet"), tmp_path / "table.csv")
    monkeypatch.setattr(csv_reading, "MIN_BYTES_IN_RANGES", 1)
    expected, _, _ = predict("regression", "table.csv")
    original = partitioned.open_job_carrier

    def open_killing(processes, **options):
        carrier = original(processes, **options)

        class Killing:
            def __enter__(self):
                self.carrier = carrier.__enter__()
                return self

            def __exit__(self, *error):
                return carrier.__exit__(*error)

            def run(self, function, items, on_done):
                function = kill_once if function is partitioned.predict_partition else function
                return self.carrier.run(function, items, on_done)

        return Killing()

    monkeypatch.setattr(partitioned, "open_job_carrier", open_killing)
    predicted, _, names = predict("regression", "table.csv", processes=2)
    assert (tmp_path / "lost").exists()
    assert names == ["table.parquet"]
    np.testing.assert_allclose(predicted.column("prediction"), expected.column("prediction"), rtol=1e-5)


def test_the_row_of_an_error_is_that_of_the_table(predict, tmp_path):
    with pytest.raises(EngineError) as caught:
        predict("forecast", "parts", incomplete="refuse")
    assert (caught.value.code, caught.value.value) == ("row_incomplete", "1")
    table = pq.read_table(tmp_path / "table.parquet")
    values = [None if row == 160 else value for row, value in enumerate(table.column("x1").to_pylist())]
    pq.write_table(table.set_column(2, "x1", pa.array(values)), tmp_path / "gap.parquet")
    with pytest.raises(EngineError) as caught:
        predict("regression", "gap.parquet", incomplete="refuse", partitions=4)
    assert (caught.value.code, caught.value.value) == ("row_incomplete", "161")
