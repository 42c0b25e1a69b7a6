"""What a table holds to learn from, and everything that may be wrong with it."""

import datetime
import json
import tracemalloc
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from deepseek.job import EngineError
from deepseek.train.examples import compute_moments, read_examples
from deepseek.train.spec import TrainSpec

ROWS = 40
x = np.arange(ROWS) * 1.0


def examples(path, **fields):
    return read_examples(path, TrainSpec(**({"task": "regression", "target": "y"} | fields)))


def refused(path, code, field, **fields):
    with pytest.raises(EngineError) as caught:
        examples(path, **fields)
    error = caught.value
    assert (error.code, error.field) == (code, field)
    assert error.hint
    return error


def test_numbers_of_every_kind_are_features(table):
    path = table(
        y=x,
        whole=pa.array(range(ROWS), pa.int16()),
        half=pa.array(np.arange(ROWS), pa.float16()),
        exact=[Decimal(i) / 4 for i in range(ROWS)],
        flag=[i % 2 == 0 for i in range(ROWS)],
        word=["a"] * ROWS,
        nothing=pa.nulls(ROWS, pa.float64()),
    )
    found = examples(path)
    assert found.names == ["whole", "half", "exact", "flag"]
    assert found.features[3].tolist() == [3, 3, 0.75, 0]
    assert found.warnings[0] == "Not learned from, being no numbers or empty: 'word', 'nothing'."
    assert examples(path, features=["exact"]).names == ["exact"]


def test_csv_is_read_too(write):
    path = write("a,y\n" + "".join(f"{i},{2 * i}\n" for i in range(20)))
    assert examples(path).features.shape == (20, 1)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a"] * 20, ["a", "b"]),
        ([10, 9] * 20, ["9", "10"]),
        ([True, False] * 20, ["false", "true"]),
        ([2.0, -1.0] * 20, ["-1", "2"]),
        ([Decimal(3), Decimal(1)] * 20, ["1", "3"]),
    ],
)
def test_classes_in_their_order(table, values, classes):
    found = examples(table(y=values, x=x), task="classification")
    assert found.classes == classes
    assert found.target.tolist() == [1, 0] * 20


@pytest.mark.parametrize("values", [[1e300, 2e300] * 20, [2.0**53 + 2, 1.0] * 20, [Decimal(10**19), Decimal(1)] * 20])
def test_numbers_too_large_to_be_told_apart_are_no_classes(table, values):
    refused(table(y=values, x=x), "target_not_classes", "/target", task="classification")


def test_exact_classes_stay_apart_however_long(table):
    found = examples(table(y=[Decimal(10**17 + 1), Decimal(10**17)] * 20, x=x), task="classification")
    assert found.classes == [str(10**17), str(10**17 + 1)]


def test_rows_with_missing_values_are_left_out_and_counted(table):
    holes = [None if i == 3 else float("inf") if i == 5 else float(i) for i in range(ROWS)]
    target = [None if i in (5, 7) else float(i) for i in range(ROWS)]
    found = examples(table(x=holes, y=target))
    assert found.left_out == 3
    assert len(found.target) == ROWS - 3
    assert np.isfinite(found.features).all()
    assert found.features[:, 0].tolist() == found.target.tolist()


def test_a_class_whose_rows_were_all_left_out_is_none(table):
    found = examples(table(x=[None, *x[1:]], y=["rare", *["a", "b", "c"] * 13]), task="classification")
    assert found.classes == ["a", "b", "c"]


def test_windows_of_a_series(table):
    found = examples(table(y=x), task="forecast", lags=3, horizon=2, validation_share=0.2, test_share=0.2)
    assert found.names == ["y[t-2]", "y[t-1]", "y[t]"]
    assert found.features[0].tolist() == [0, 1, 2]
    assert (found.target[0], found.features[-1].tolist(), found.target[-1]) == (4, [35, 36, 37], 39)
    assert found.parts.training[-1] + 2 == found.parts.validation[0]  # the gap of horizon - 1
    last_seen = found.target[found.parts.training[-1]]
    assert last_seen <= found.features[found.parts.validation[0], -1]


def test_windows_with_a_gap_are_left_out(table):
    series = [None if i == 10 else float(i) for i in range(ROWS)]
    found = examples(table(y=series), task="forecast", lags=3)
    assert found.left_out == 4
    rows = np.concatenate([found.parts.training, found.parts.validation, found.parts.test])
    assert np.isfinite(found.features[rows]).all()
    assert np.isfinite(found.target[rows]).all()
    assert len(rows) == ROWS - 3 - 4


def test_a_series_that_runs_backwards_is_remarked_on(table):
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in range(ROWS)]
    assert examples(table(y=x, day=days), task="forecast", lags=2).warnings == []
    assert (
        "'day' is not in ascending order" in examples(table(y=x, day=days[::-1]), task="forecast", lags=2).warnings[0]
    )
    assert "overlap" in examples(table(y=x), task="forecast", lags=2, split="random").warnings[0]


def test_a_column_that_float32_cannot_tell_apart_is_remarked_on(table):
    seconds = 1_700_000_000 + np.arange(ROWS) * 60
    (warning,) = examples(table(y=x, when=seconds, same=[5] * ROWS)).warnings
    assert "'when'" in warning


@pytest.mark.parametrize("residual", [False, True])
def test_moments(residual):
    values = np.random.default_rng(0).normal(1e6, 2, (40_000, 3)).astype(np.float32)
    values[:, 1] = 7
    mean, spread = compute_moments(values, np.arange(30_000), residual=residual)
    wanted = values[:30_000].astype(np.float64) - (values[:30_000, -1:].astype(np.float64) if residual else 0)
    assert mean == pytest.approx(wanted.mean(axis=0))
    if residual:
        assert spread[2] == 1
    else:
        assert spread == pytest.approx([wanted[:, 0].std(), 1, wanted[:, 2].std()])


def test_moments_of_wide_windows_take_little_memory():
    windows = np.lib.stride_tricks.sliding_window_view(np.ones(20_000, np.float32), 2048)
    tracemalloc.start()
    compute_moments(windows, np.arange(len(windows)), residual=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # whole, they are 147 MB in float32, and their copies in float64 several times as much


def test_an_identifier_is_no_target(table):
    path = table(y=[f"row {i}" for i in range(ROWS)], x=x)
    error = refused(path, "too_few_rows", "/target", task="classification")
    assert (error.value, "identifier" in error.hint) == ("40 classes", True)


def test_bad_targets(table):
    path = table(price=x, words=["a", "b"] * 20, same=[4] * ROWS, none=pa.nulls(ROWS, pa.float64()), part=x / 3)
    error = refused(path, "unknown_column", "/target", target="prize")
    assert error.hint == "Did you mean 'price'?"
    assert "'a'" in refused(path, "column_not_numeric", "/target", target="words").message
    refused(path, "column_not_numeric", "/target", target="words", task="forecast")
    refused(path, "column_all_missing", "/target", target="none")
    refused(path, "target_constant", "/target", target="same")
    refused(path, "target_constant", "/target", target="same", task="classification")
    refused(path, "target_constant", "/target", target="same", task="forecast", lags=2)
    assert refused(path, "target_not_classes", "/target", target="part", task="classification").value == "0.333333"


@pytest.mark.parametrize("values", [[datetime.date(2020, 1, 1)] * ROWS, [float("inf"), 1.0] * 20, [[1]] * ROWS])
def test_targets_that_name_no_classes(table, values):
    refused(table(x=x, y=values), "target_not_classes", "/target", task="classification")


def test_bad_features(table):
    path = table(y=x, words=[datetime.date(2020, 1, 1)] * ROWS, large=x * 1e300)
    refused(path, "unknown_column", "/features/1", features=["y2", "large"][::-1])
    assert "one column of 0 and 1" in refused(path, "column_not_numeric", "/features/0", features=["words"]).hint
    assert refused(path, "value_too_large", "/features/0", features=["large"]).value == "1e+300"
    refused(table("two", y=x, words=["a"] * ROWS), "no_numeric_features", "/features")


def test_too_many_classes(table):
    path = table(x=np.arange(1001), y=np.arange(1001))
    assert refused(path, "too_many_classes", "/target", task="classification").value == "1001"


def test_too_few_rows(table):
    refused(table(x=x[:9], y=x[:9]), "too_few_rows", "inputs/table")
    refused(table(y=x[:29]), "too_few_rows", "inputs/table", task="forecast")
    refused(table(y=x[:5]), "too_few_rows", "inputs/table", task="forecast")


def test_too_many_missing(table):
    path = table(y=x, a=[None if i % 5 else 1.0 for i in range(ROWS)], b=[None, *x[1:]])
    error = refused(path, "too_many_missing", "inputs/table")
    assert (error.value, "33 of 40" in error.message) == ("a", True)
    holes = table("series", y=[None if i % 5 == 0 else float(i) for i in range(ROWS)])
    assert refused(holes, "too_many_missing", "inputs/table", task="forecast", lags=4).value == "y"


def test_a_label_that_only_the_test_part_has(table):
    path = table(x=x, y=["a", "b"] * 18 + ["late"] * 4)
    error = refused(path, "label_only_in_test", "/split", task="classification", split="ordered")
    assert error.value == "'late'"
    assert examples(path, task="classification", split="random").classes == ["a", "b", "late"]


@pytest.mark.parametrize("kind", ["jsonl", "arrow"])
def test_json_lines_and_arrow_are_learned_from_as_parquet_is(table, tmp_path, kind):
    whole = pa.table({"y": x, "a": x * 2})
    path = tmp_path / f"table.{kind}"
    if kind == "arrow":
        with pa.ipc.new_file(path, whole.schema) as writer:
            writer.write_table(whole)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in whole.to_pylist()))
    found, wanted = examples(path), examples(table(y=x, a=x * 2))
    assert found.names == wanted.names
    assert (found.table == wanted.table).all()
    assert (found.target == wanted.target).all()
