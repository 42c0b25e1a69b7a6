"""Every row of a table has what the model gives it, whatever the batches; incomplete rows have none, or are refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import EngineError, Silent
from deepseek.models.folder import find_model_files
from deepseek.models.predictor import load_predictor
from deepseek.predict.run import run
from deepseek.predict.spec import PredictSpec
from tests.deepseek.models.making import make_model


@pytest.fixture
def predict(tmp_path):
    """predict(task, table, row_group=..., **spec) -> the table, and the predictor and manifest of the model."""

    def do(task, table, row_group=50, classes=(), **spec):
        folder, path, out = (
            tmp_path / "model",
            tmp_path / "table.parquet",
            tmp_path / f"out-{len(list(tmp_path.iterdir()))}",
        )
        if not folder.exists():
            make_model(folder, task=task, inputs=3, seed=1, classes=classes)
        pq.write_table(table, path, row_group_size=row_group)
        result = run(PredictSpec(**spec), inputs={**find_model_files(folder), "table": path}, out=out, report=Silent())
        return pq.read_table(out / "table.parquet"), load_predictor(folder), result

    return do


def build_table(rows=120):
    random = np.random.default_rng(3)
    columns = {f"x{place}": random.normal(1, 2, rows) for place in range(3)}
    return pa.table({"id": list(range(rows)), **columns, "y": random.normal(5, 1, rows)})


def blank(table, name, rows):
    values = [None if row in rows else value for row, value in enumerate(table.column(name).to_pylist())]
    return table.set_column(table.column_names.index(name), name, pa.array(values, table.column(name).type))


def features(table):
    return np.stack([table.column(f"x{place}").to_numpy().astype(np.float32) for place in range(3)], axis=1)


def test_numbers_are_those_of_the_model(predict):
    table = build_table()
    predicted, model, result = predict("regression", blank(table, "x1", {5, 60}))
    assert predicted.column_names == [*table.column_names, "prediction"]
    numbers = predicted.column("prediction").to_pylist()
    assert [row for row, number in enumerate(numbers) if number is None] == [5, 60]
    expected = model.predict(features(table))[:, 0]
    complete = [row for row in range(120) if row not in (5, 60)]
    assert np.array(numbers, dtype=object)[complete].astype(float) == pytest.approx(expected[complete], rel=1e-5)
    assert (result.summary["rows"], result.summary["incomplete"]) == (120, 2)


def test_classes_and_their_shares(predict):
    table = build_table()
    predicted, model, _ = predict("classification", table, classes=("no", "yes"), keep=["id"], probabilities=True)
    assert predicted.column_names == ["id", "prediction", "p_no", "p_yes"]
    outputs = model.predict(features(table))
    assert predicted.column("prediction").to_pylist() == [("no", "yes")[place] for place in outputs.argmax(axis=1)]
    assert predicted.column("p_yes").to_numpy() == pytest.approx(outputs[:, 1], abs=1e-6)


@pytest.mark.parametrize("row_group", [1, 7, 120])
def test_a_forecast_sees_the_rows_before(predict, row_group):
    table = blank(build_table(), "y", {40})
    predicted, model, _ = predict("forecast", table, row_group)
    series = np.array([np.nan if value is None else value for value in table.column("y").to_pylist()], np.float32)
    numbers = predicted.column("prediction").to_pylist()
    assert [row for row, number in enumerate(numbers) if number is None] == [0, 1, 40, 41, 42]
    window = np.ascontiguousarray(series[7:10][None])
    assert numbers[9] == pytest.approx(float(model.predict(window)[0, 0]), rel=1e-5)


def test_what_does_not_fit_is_refused_by_its_field(predict, tmp_path):
    table = build_table()
    texts = table.set_column(1, "x0", pa.array(["a"] * 120))
    cases = {
        "unknown_column": (table.drop_columns(["x2"]), {}),
        "column_not_numeric": (texts, {}),
        "column_exists": (table, {"name": "y"}),
        "row_incomplete": (blank(table, "x1", {70}), {"incomplete": "refuse"}),
    }
    found = {}
    for code, (given, spec) in cases.items():
        with pytest.raises(EngineError) as caught:
            predict("regression", given, **spec)
        found[code] = (caught.value.code, caught.value.field, caught.value.value)
    assert {code: code_found for code, (code_found, _, _) in found.items()} == {code: code for code in cases}
    assert found["row_incomplete"][1:] == ("inputs/table", "71")
    assert found["column_exists"][1] == "/name"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out-") and list(path.iterdir())]
