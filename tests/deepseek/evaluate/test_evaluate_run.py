"""A model and a table go in; figures, rows and replicates come out, and two models are compared by subtraction."""

import base64
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.evaluate.run import run
from deepseek.evaluate.spec import EvaluateSpec, get_task_metrics
from deepseek.job import EngineError
from deepseek.models.evaluate import measure, measure_difference
from deepseek.models.folder import find_model_files
from deepseek.models.manifest import compute_file_sha256
from tests.deepseek.models.making import make_model

QUICK = {"runs": 20, "batches": [1], "replicates": 1000}
SLICES = [{"column": "region"}, {"column": "x0", "bins": 2}]


@pytest.fixture
def evaluate(tmp_path, report):
    """evaluate(seed of the weights, table, task=..., **spec) -> the folder of the outputs."""
    made = []

    def do(weights, table, task="regression", classes=(), **asked):
        folder, out = tmp_path / f"model{len(made)}", tmp_path / f"out{len(made)}"
        make_model(folder, task=task, inputs=3, seed=weights, classes=classes)
        path = tmp_path / f"table{len(made)}.parquet"
        pq.write_table(table, path)
        made.append(out)
        inputs = {**find_model_files(folder), "table": path}
        result = run(EvaluateSpec(**QUICK, **asked), inputs=inputs, out=out, report=report)
        assert tuple(each.slot for each in result.outputs) == ("evaluation", "rows", "replicates")
        assert document(out)["schema"] == "plane/evaluation/v1"
        return out

    return do


def table(task="regression", rows=120, seed=1, **more):
    random = np.random.default_rng(seed)
    y = random.choice(["no", "yes"], rows) if task == "classification" else random.normal(5, 1, rows)
    columns = {f"x{k}": random.normal(1, 2, rows) for k in range(3)}
    return pa.table({**columns, "y": y, "region": random.choice(["n", "s"], rows), **more})


def document(out):
    return json.loads((out / "evaluation.json").read_text())


def replicates(out):
    told = json.loads((out / "replicates.json").read_text())
    return {
        (tuple(one["slice"] or ()), one["metric"]): np.frombuffer(base64.b64decode(one["draws"]), "<f8")
        for one in told["series"]
    }


@pytest.mark.parametrize("task", ["regression", "classification", "forecast"])
def test_the_figures_are_those_of_training_and_more(evaluate, task):
    out = evaluate(0, table(task), task, slices=SLICES, horizon=1 if task == "forecast" else None)
    told, rows = document(out), pq.read_table(out / "rows.parquet")
    assert (told["task"], told["rows"]) == (task, rows.num_rows)
    assert {one["name"] for one in told["metrics"]} <= set(get_task_metrics(task, EvaluateSpec()))
    assert sum(part["rows"] for part in told["slices"][:2]) == told["rows"] == rows.num_rows
    assert told["latency"][0]["p50_us"] <= told["latency"][0]["p95_us"]
    assert told["memory"]["peak_bytes"] > told["memory"]["model_bytes"] >= 0
    target = rows["target"].to_numpy(zero_copy_only=False)
    if task == "classification":
        outputs = np.column_stack([rows["share_no"], rows["share_yes"]])
        wanted = measure(task, outputs, (target == "yes").astype(np.int64))
    else:
        wanted = measure(task, rows["prediction"].to_numpy()[:, None], target)
    found = {one["name"]: one for one in told["metrics"]}
    for one in wanted:
        assert found[one.name]["value"] == pytest.approx(one.value)
        assert found[one.name]["low"] == pytest.approx(one.low)


def test_replicates_of_two_models_subtract_to_the_paired_bootstrap(evaluate):
    ours, theirs = evaluate(0, table()), evaluate(1, table())
    assert document(ours)["pairing"] == document(theirs)["pairing"]
    outputs = [pq.read_table(out / "rows.parquet") for out in (ours, theirs)]
    mine, others = (one["prediction"].to_numpy()[:, None] for one in outputs)
    wanted = {m.name: m for m in measure_difference("regression", mine, others, outputs[0]["target"].to_numpy())}
    for name in ("rmse", "mae", "r2"):
        drawn = replicates(ours)[(), name] - replicates(theirs)[(), name]
        assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx([wanted[name].low, wanted[name].high])


@pytest.mark.parametrize(("rows", "asked"), [(120, {"seed": 1}), (119, {})])
def test_other_draws_do_not_pair(evaluate, rows, asked):
    first, second = evaluate(0, table()), evaluate(0, table(rows=rows), **asked)
    assert document(first)["pairing"] != document(second)["pairing"]


def test_equal_inputs_give_equal_rows_and_replicates(evaluate):
    first, second = (evaluate(0, table(), slices=SLICES) for _ in range(2))
    for name in ("rows.parquet", "replicates.json"):
        assert compute_file_sha256(first / name) == compute_file_sha256(second / name)


def test_a_slice_is_measured_as_if_it_were_the_table(evaluate):
    whole = table()
    south = whole.filter(pa.array([value == "s" for value in whole["region"].to_pylist()]))
    part = next(p for p in document(evaluate(0, whole, slices=SLICES))["slices"] if p["value"] == "s")
    alone = document(evaluate(0, south))
    assert part["rows"] == alone["rows"]
    values = [{m["name"]: m["value"] for m in told["metrics"]} for told in (part, alone)]
    assert values[0] == pytest.approx(values[1])


def test_a_slice_of_few_rows_has_no_figures(evaluate):
    rare = ["few"] * 9 + ["many"] * 111
    parts = document(evaluate(0, table(rare=rare), slices=[{"column": "rare"}]))["slices"]
    assert [(part["value"], len(part["metrics"]) > 0) for part in parts] == [("many", True), ("few", False)]


def test_a_ranking_draws_queries(evaluate):
    query = np.repeat(np.arange(12), 10)
    out = evaluate(0, table(q=query, kind=np.repeat(["a", "b"], 60)), group="q", slices=[{"column": "kind"}])
    told = document(out)
    assert (told["task"], told["queries"]) == ("ranking", 12)
    assert [one["name"] for one in told["metrics"]] == ["ndcg_at_5", "ndcg_at_10", "map", "mrr"]
    assert [part["rows"] for part in told["slices"]] == [60, 60]


def test_a_forecast_is_measured_at_the_rows_it_foretold(evaluate):
    out = evaluate(0, table("forecast", rows=50), "forecast", horizon=4)
    rows = pq.read_table(out / "rows.parquet")["row"].to_pylist()
    assert rows == list(range(3 + 4 - 1, 50))
    assert document(out)["horizon"] == 4


def test_from_a_row_on_forecasts_of_any_lags_share_their_rows(evaluate):
    out = evaluate(0, table("forecast", rows=50), "forecast", horizon=1, first_row=20)
    assert pq.read_table(out / "rows.parquet")["row"].to_pylist() == list(range(20, 50))
    assert document(out)["left_out"] == 0


def test_bins_are_those_of_the_rows_that_are_measured(evaluate):
    out = evaluate(
        0, table("forecast", rows=60, day=range(60)), "forecast", horizon=1, first_row=20, slices=[{"column": "day"}]
    )
    assert [part["rows"] for part in document(out)["slices"]] == [10, 10, 10, 10]


def test_rows_with_gaps_are_left_out_and_told(evaluate):
    gappy = table(x1=[None] * 10 + [1.0] * 110)
    told = document(evaluate(0, gappy))
    assert (told["rows"], told["left_out"]) == (110, 10)
    assert told["notes"][0].startswith("10 rows lack")


@pytest.mark.parametrize(
    ("rows", "task", "asked", "code", "field"),
    [
        (table().drop_columns(["x1"]), "regression", {}, "unknown_column", "inputs/table"),
        (table(x1=["a"] * 120), "regression", {}, "column_not_numeric", "inputs/table"),
        (table().drop_columns(["y"]), "regression", {}, "unknown_column", "/target"),
        (table(rows=9), "regression", {}, "rows_too_few", "inputs/table"),
        (table(x1=[None] * 70 + [1.0] * 50), "regression", {}, "too_many_missing", "inputs/table"),
        (table(y=["maybe"] * 120), "classification", {}, "class_unknown", "inputs/table"),
        (table("classification"), "classification", {"positive": "maybe"}, "positive_unknown", "/positive"),
        (table(), "regression", {"slices": [{"column": "planet"}]}, "unknown_column", "/slices/0/column"),
        (table(), "regression", {"group": "planet"}, "unknown_column", "/group"),
        (table(y=[-1.0] * 120), "regression", {"group": "region"}, "relevance_negative", "inputs/table"),
        (table(), "forecast", {}, "horizon_unknown", "/horizon"),
        (table(), "forecast", {"group": "region"}, "group_not_taken", "/group"),
        (table(rows=2), "forecast", {"horizon": 3}, "rows_too_few", "inputs/table"),
    ],
)
def test_what_cannot_be_measured_is_named_and_nothing_is_written(evaluate, tmp_path, rows, task, asked, code, field):
    with pytest.raises(EngineError) as caught:
        evaluate(0, rows, task, **asked)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.hint
    assert not (tmp_path / "out0").exists()
