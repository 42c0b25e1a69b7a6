"""Predictions that were made elsewhere are measured as a model's own would be, and what is wrong with them is named."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from deepseek.evaluate.predictions_run import run as measure
from deepseek.evaluate.run import run as evaluate
from deepseek.evaluate.spec import EvaluateSpec, PredictionsSpec
from deepseek.job import EngineError
from deepseek.models.folder import find_model_files
from tests.deepseek.models.making import make_model

FIGURES = {"replicates": 400, "slices": [{"column": "region"}]}
TIMING = {"runs": 20, "batches": [1]}


@pytest.fixture
def predicted(tmp_path, report):
    """predicted(predictions, table, task=..., as_csv=..., **spec) -> the document."""
    made = []

    def do(given, table, task="regression", as_csv=False, quoting="needed", **asked):
        out, files = tmp_path / f"p{len(made)}", {}
        made.append(out)
        for name, of in (("predictions", given), ("table", table)):
            files[name] = tmp_path / f"{name}{len(made)}"
            if as_csv and name == "predictions":
                pyarrow.csv.write_csv(of, files[name], pyarrow.csv.WriteOptions(quoting_style=quoting))
            else:
                pq.write_table(of, files[name])
        spec = PredictionsSpec(task=task, target="y", **FIGURES | asked)
        measure(spec, inputs=files, out=out, report=report)
        return document(out) | {"out": out}

    return do


@pytest.fixture
def by_model(tmp_path, report):
    """by_model(table, task) -> the folder of what a model of the plane's own measured."""

    def do(table, task, classes=(), **asked):
        make_model(tmp_path / "model", task=task, inputs=3, classes=classes)
        pq.write_table(table, tmp_path / "t.parquet")
        inputs = {**find_model_files(tmp_path / "model"), "table": tmp_path / "t.parquet"}
        spec = EvaluateSpec(**FIGURES | TIMING | asked)
        evaluate(spec, inputs=inputs, out=tmp_path / "m", report=report)
        return tmp_path / "m"

    return do


def document(out):
    return json.loads((out / "evaluation.json").read_text())


def table(task="regression", rows=60, **more):
    random = np.random.default_rng(1)
    y = random.choice(["no", "yes"], rows) if task == "classification" else random.normal(5, 1, rows)
    columns = {f"x{k}": random.normal(1, 2, rows) for k in range(3)}
    return pa.table({**columns, "y": y, "region": random.choice(["n", "s"], rows)} | more)


def of_rows(rows, task):
    """What a model said, as its owner would write it down; the rows counted from 1, the last first."""
    columns = {"row": np.asarray(rows["row"])[::-1] + 1, "prediction": rows["prediction"].to_pylist()[::-1]}
    if task == "classification":
        columns |= {f"p_{name}": np.asarray(rows[f"share_{name}"])[::-1] for name in ("no", "yes")}
    return pa.table(columns)


@pytest.mark.parametrize("as_csv", [False, True])
@pytest.mark.parametrize("task", ["regression", "classification", "forecast"])
def test_what_a_model_said_measures_as_the_model_did(by_model, predicted, task, as_csv):
    horizon = {"horizon": 2} if task == "forecast" else {}
    theirs = by_model(table(task), task, **horizon)
    ours = predicted(of_rows(pq.read_table(theirs / "rows.parquet"), task), table(task), task, as_csv, **horizon)
    told = document(theirs)
    assert ours["pairing"] == told["pairing"]
    assert ours["rows"] == told["rows"]
    for mine, other in zip([ours, *ours["slices"]], [told, *told["slices"]], strict=True):
        named = {one["name"]: one["value"] for one in mine["metrics"]}
        assert named == pytest.approx({one["name"]: one["value"] for one in other["metrics"]}, rel=1e-5)
    if not as_csv:
        for name in ("replicates.json", "rows.parquet"):
            assert (ours["out"] / name).read_bytes() == (theirs / name).read_bytes()


def test_of_a_model_that_was_not_run_nothing_is_timed(predicted):
    told = predicted(pa.table({"prediction": np.zeros(60)}), table())
    assert (told["latency"], told["size_bytes"], told["memory"], told["model"]) == ([], None, None, None)
    assert (told["variant"], len(told["predictions"])) == ("predictions", 64)
    assert told["notes"] == ["The model was not run: latency, throughput, size and memory are not measured."]


def test_without_probabilities_hits_alone_are_measured(predicted):
    told = predicted(pa.table({"prediction": ["yes"] * 60}), table("classification"), "classification")
    names = {one["name"] for one in told["metrics"]}
    assert names == {"accuracy", *(f"{name}{end}" for name in ("precision", "recall", "f1") for end in ("", "_macro"))}
    assert told["notes"][-1] == "No probabilities were given: auc, log_loss, brier and ece are not measured."
    assert told["calibration"] == []


def test_the_class_that_is_named_counts_not_the_most_probable_one(predicted):
    given = pa.table({"prediction": ["yes"] * 60, "p_no": [0.6] * 60, "p_yes": [0.4] * 60})
    told = predicted(given, table("classification"), "classification")
    assert {one["name"]: one["value"] for one in told["metrics"]}["recall"] == 1.0
    assert told["notes"][-1].startswith("60 predictions name another class")


def test_a_ranking_is_of_scores(predicted):
    query, relevant = np.repeat(np.arange(12), 5), np.tile([1, 0, 0, 0, 0], 12)
    given = pa.table({"prediction": np.tile([0.9, 0.1, 0.2, 0.3, 0.4], 12)})
    told = predicted(given, table(q=query, y=relevant), group="q")
    assert {one["name"]: one["value"] for one in told["metrics"]}["mrr"] == 1.0
    words = table(q=query, y=["good" if one else "bad" for one in relevant])
    told = predicted(given, words, "classification", group="q", positive="good")
    assert (told["task"], {one["name"]: one["value"] for one in told["metrics"]}["map"]) == ("ranking", 1.0)


def test_whole_numbers_are_classes_in_their_order_and_a_class_may_be_absent(predicted):
    labels = np.tile([2, 10], 30)
    shares = {"p_10": labels == 10, "p_2": labels == 2, "p_1": np.zeros(60, bool)}
    given = pa.table({"prediction": labels.astype(float), **{n: s.astype(float) for n, s in shares.items()}})
    told = predicted(given, table(y=labels), "classification")
    assert {one["name"]: one["value"] for one in told["metrics"]}["accuracy"] == 1.0
    assert "share_1" in pq.read_schema(told["out"] / "rows.parquet").names


LACKING = [None] * 10 + [0.5] * 50
"""A column without a value in the first ten rows: a model that needs it predicts none of them."""


def test_rows_without_a_prediction_are_left_out_and_told(predicted):
    told = predicted(pa.table({"prediction": [None] * 10 + [1.0] * 50}), table(x0=LACKING))
    assert (told["rows"], told["left_out"]) == (50, 10)
    assert told["notes"][-1] == "10 rows lack a prediction or the target; they are not measured."
    some = predicted(pa.table({"row": range(11, 61), "prediction": np.ones(50)}), table(x0=LACKING))
    assert (some["rows"], some["pairing"]) == (50, told["pairing"])


@pytest.mark.parametrize("task", ["regression", "classification", "forecast"])
def test_what_a_model_of_the_plane_leaves_out_predictions_may_leave_out(by_model, predicted, task):
    y = table(task)["y"].to_pylist()
    y[20] = y[40] = None
    of = table(task, x1=[None, float("nan"), float("inf"), *[0.5] * 57], y=y)
    horizon = {"horizon": 2} if task == "forecast" else {}
    theirs = by_model(of, task, **horizon)
    ours, told = predicted(of_rows(pq.read_table(theirs / "rows.parquet"), task), of, task, **horizon), document(theirs)
    assert (ours["rows"], ours["pairing"]) == (told["rows"], told["pairing"])
    assert ours["left_out"] >= 5


NUMBERS, CLASSES = np.ones(60), ["yes"] * 60
QUERIES = np.repeat(range(12), 5)
FORECAST, GAP = {"task": "forecast", "horizon": 1}, [*NUMBERS[:7], None, *NUMBERS[8:]]


def without(*rows):
    """Predictions of 60 rows but these, counted from 1."""
    return pa.table({"prediction": [None if row in rows else 1.0 for row in range(1, 61)]})


LACKING_PREDICTIONS = [
    (without(7, 9), {}, {}, "2, the first in data row 7"),
    (pa.table({"row": range(3, 61), "prediction": NUMBERS[2:]}), {}, {}, "2, the first in data row 1"),
    (without(*range(1, 41)), {}, {}, "40, the first in data row 1"),
    (without(7, 12, 13), {"x0": LACKING}, {}, "2, the first in data row 12"),
    (without(7, 12), {"x0": LACKING, "empty": [None] * 60}, {}, "1, the first in data row 12"),
    (without(7, 12), {}, {"first_row": 7}, "1, the first in data row 12"),
    (without(8, 12), {"y": GAP}, {}, "1, the first in data row 12"),
    (without(7), {"y": np.tile([1, 0], 30), "q": QUERIES}, {"group": "q"}, "1, the first in data row 7"),
    (without(1, 2, 3, 9), {}, FORECAST, "1, the first in data row 9"),
    (without(9), {"x0": LACKING}, FORECAST, "1, the first in data row 9"),
    (without(1, 2, 8, 9, 11), {"y": GAP}, FORECAST, "1, the first in data row 11"),
    (without(8, 9), {"y": GAP}, FORECAST, "1, the first in data row 9"),
]


def test_no_prediction_may_lack_that_could_have_been_made(predicted, tmp_path):
    wrong = []
    for number, (given, of, asked, value) in enumerate(LACKING_PREDICTIONS):
        with pytest.raises(EngineError) as caught:
            predicted(given, table(**of), **asked)
        error = caught.value
        named = (error.code, error.field, error.value)
        if named != ("prediction_missing", "inputs/predictions", value) or "only" not in error.limit or not error.hint:
            wrong.append((number, error.as_dict()))
    assert wrong == []
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_of_classes_too_no_prediction_may_lack(predicted):
    with pytest.raises(EngineError) as caught:
        predicted(pa.table({"prediction": [None, *CLASSES[1:]]}), table("classification"), "classification")
    assert (caught.value.code, caught.value.value) == ("prediction_missing", "1, the first in data row 1")


@pytest.mark.parametrize(
    ("given", "of", "asked", "left_out"),
    [
        (without(1, 2, 8, 9, 10), {"y": GAP}, FORECAST, 5),
        (without(1, 2, 3), {}, FORECAST | {"first_row": 3}, 0),
        (without(3), {"y": np.tile([1, 0], 30), "q": [1, 1, None, *[2] * 57]}, {"group": "q"}, 1),
    ],
)
def test_a_prediction_that_nobody_could_make_may_lack(predicted, given, of, asked, left_out):
    assert predicted(given, table(**of), **asked)["left_out"] == left_out


def test_classes_of_digits_are_read_as_the_table_writes_them(predicted):
    labels = ["01", "02"] * 30
    told = predicted(pa.table({"prediction": labels}), table(y=labels), "classification", as_csv=True, quoting="none")
    assert told["metrics"][0]["value"] == 1.0


SPELLINGS = [
    (["0", "1"], [0, 1]),
    (["0.0", "1.0"], [0, 1]),
    (["0", "1"], ["0", "1"]),
    (["0.0", "1.0"], ["0", "1"]),
    (["00", "01"], ["0", "1"]),
    (["00", "01"], [0, 1]),
    (["1", "01"], ["1", "01"]),
    (["False", "True"], ["false", "true"]),
    (["False", "True"], [False, True]),
    (["2020-01-01", "2020-01-02"], ["2020-01-01", "2020-01-02"]),
    (["12345678901234567890", "2"], ["12345678901234567890", "2"]),
]


def test_classes_may_be_written_as_programs_write_them(predicted):
    wrong = []
    for written, classes in SPELLINGS:
        given = pa.table({"prediction": written * 30})
        document = predicted(given, table(y=classes * 30), "classification", as_csv=True, quoting="none")
        if document["metrics"][0]["value"] != 1.0:
            wrong.append((written, classes, document["metrics"][0]))
    assert wrong == []


@pytest.mark.parametrize(
    ("written", "classes"),
    [("1", ["01", "02"]), ("001", ["01", "02"]), ("1.0", ["01", "02"]), ("001", ["01", "1"]), ("1.0", ["01", "1"])],
)
def test_another_spelling_that_could_be_two_classes_is_none(predicted, written, classes):
    given, of = pa.table({"prediction": [written, *["01"] * 59]}), table(y=classes * 30)
    with pytest.raises(EngineError) as caught:
        predicted(given, of, "classification", as_csv=True, quoting="none")
    assert (caught.value.code, caught.value.value) == ("class_unknown", written)


def test_scores_of_a_ranking_of_one_class_are_no_shares(predicted):
    given, of = pa.table({"prediction": np.linspace(-3, 3, 60)}), table(y=["good"] * 60, q=np.repeat(range(12), 5))
    told = predicted(given, of, "classification", group="q", positive="good")
    rows = pq.read_table(told["out"] / "rows.parquet")
    assert rows.column_names == ["row", "target", "prediction", "query"]
    assert rows["prediction"].to_numpy() == pytest.approx(np.linspace(-3, 3, 60))
    assert told["calibration"] == []


WRONG = [
    ({"guess": NUMBERS}, {}, "unknown_column", "prediction"),
    ({"prediction": NUMBERS[1:]}, {}, "predictions_count", "59"),
    ({"prediction": ["much"] * 60}, {}, "column_not_numeric", "prediction"),
    ({"prediction": [float("nan"), *NUMBERS[1:]]}, {}, "prediction_not_finite", "nan"),
    ({"prediction": [float("inf"), *NUMBERS[1:]]}, {}, "prediction_not_finite", "inf"),
    ({"prediction": [1e300, *NUMBERS[1:]]}, {}, "value_too_large", "1e+300"),
    ({"prediction": [None] * 31 + [1.0] * 29}, {"task": "forecast", "horizon": 1}, "too_many_missing", "31"),
    ({"prediction": NUMBERS[:2], "row": [1, 1]}, {}, "prediction_row", "1"),
    ({"prediction": NUMBERS[:2], "row": [0, 1]}, {}, "prediction_row", "0"),
    ({"prediction": NUMBERS[:2], "row": [1, 61]}, {}, "prediction_row", "61"),
    ({"prediction": NUMBERS[:2], "row": [1, None]}, {}, "prediction_row", "None"),
    ({"prediction": NUMBERS[:2], "row": [1, 1.5]}, {}, "prediction_row", "1.5"),
    ({"prediction": NUMBERS[:2], "row": ["a", "b"]}, {}, "prediction_row", "a"),
    ({"prediction": ["maybe", *CLASSES[1:]]}, {"task": "classification"}, "class_unknown", "maybe"),
    ({"prediction": [0.5] * 60}, {"task": "classification"}, "target_not_classes", "0.5"),
    ({"prediction": [float("nan"), *NUMBERS[1:]]}, {"task": "classification"}, "prediction_not_finite", "nan"),
    ({"prediction": CLASSES, "p_yes": NUMBERS}, {"task": "classification"}, "probability_missing", "p_yes"),
    (
        {"prediction": CLASSES, "p_yes": NUMBERS, **{f"p_{k}": NUMBERS for k in range(1000)}, "p_no": NUMBERS},
        {"task": "classification"},
        "too_many_classes",
        "1002",
    ),
    (
        {"prediction": CLASSES, "p_yes": NUMBERS, "p_no": NUMBERS},
        {"task": "classification"},
        "probability_sum",
        "2",
    ),
    (
        {"prediction": CLASSES, "p_yes": NUMBERS * 1.5, "p_no": NUMBERS * -0.5},
        {"task": "classification"},
        "probability_range",
        "-0.5",
    ),
    (
        {"prediction": CLASSES, "p_yes": [None, *NUMBERS[1:]], "p_no": NUMBERS * 0},
        {"task": "classification"},
        "prediction_incomplete",
        "p_yes",
    ),
    (
        {"prediction": CLASSES, "p_yes": [float("nan"), *NUMBERS[1:]], "p_no": NUMBERS * 0},
        {"task": "classification"},
        "prediction_not_finite",
        "nan",
    ),
]


def test_what_is_wrong_with_predictions_is_named(predicted, tmp_path):
    wrong = []
    for number, (given, asked, code, value) in enumerate(WRONG):
        with pytest.raises(EngineError) as caught:
            predicted(pa.table(given), table(asked.get("task", "regression")), **asked)
        error = caught.value
        named = (error.code, error.field, error.value)
        if named != (code, "inputs/predictions", value) or not error.limit or not error.hint:
            wrong.append((number, error.as_dict()))
    assert wrong == []
    assert not any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"task": "forecast"}, "horizon_unknown"),
        ({"horizon": 2}, "horizon_not_taken"),
        ({"task": "forecast", "horizon": 1, "group": "region"}, "group_not_taken"),
        ({"group": "planet"}, "unknown_column"),
    ],
)
def test_a_spec_that_does_not_fit_is_named(predicted, asked, code):
    with pytest.raises(EngineError) as caught:
        predicted(pa.table({"prediction": NUMBERS}), table(), **asked)
    assert caught.value.code == code
    assert caught.value.field.startswith("/")


@pytest.mark.parametrize(
    "text", [b"", b"\x80\x04\x95pickled", b"prediction\n1\n2,3\n", b"PAR1 broken", b"prediction\n"]
)
def test_a_file_that_is_no_table_is_named(tmp_path, report, text):
    (tmp_path / "p").write_bytes(text)
    pq.write_table(table(), tmp_path / "t")
    inputs, spec = (
        {"predictions": tmp_path / "p", "table": tmp_path / "t"},
        PredictionsSpec(task="regression", target="y"),
    )
    with pytest.raises(EngineError) as caught:
        measure(spec, inputs=inputs, out=tmp_path / "o", report=report)
    assert caught.value.field == "inputs/predictions"
    assert caught.value.hint


def test_a_share_of_a_class_that_is_no_number_is_refused_for_a_target_of_numbers(predicted):
    given = {"prediction": [0, 1] * 30, "p_0": [1.0] * 60, "p_1": [0.0] * 60, "p_maybe": [0.0] * 60}
    with pytest.raises(EngineError) as caught:
        predicted(pa.table(given), table(y=[0, 1] * 30), "classification")
    assert (caught.value.code, caught.value.value, caught.value.limit) == ("class_unknown", "maybe", "0, 1")
