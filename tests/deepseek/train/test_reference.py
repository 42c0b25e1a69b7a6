"""scikit-learn's HistGradientBoosting beside a model: same rows, bounded work, the same each time."""

import json

import numpy as np
import pytest

from deepseek.models.figures import Figures
from deepseek.train import reference, run
from deepseek.train.reference import FEWEST_ROWS, ITERATIONS, MOST_ROWS, ReferencePlan, plan_reference
from deepseek.train.spec import TrainSpec
from tests.deepseek.train.conftest import QUICK
from tests.deepseek.train.test_train_categories import FIELDS, draw_columns

FLOWERS = {"task": "classification", "target": "kind", "reference": True}


def read_figures(folder):
    return json.loads((folder / "figures.json").read_text())


def test_it_stands_in_the_figures(train, flowers, tmp_path):
    result = train(flowers, **FLOWERS)
    figures = read_figures(tmp_path / "out")
    found = figures["references"][0]
    assert (found["name"], found["rows"], found["iterations"]) == ("HistGradientBoosting", 84, ITERATIONS)
    assert found["training_rows"] == 84
    assert found["library"].startswith("scikit-learn ")
    values = {metric["name"]: metric for metric in found["metrics"]}
    assert values["accuracy"]["value"] > 0.8
    assert values["accuracy"]["low"] < values["accuracy"]["value"] < values["accuracy"]["high"]
    mine = {metric["name"]: metric["value"] for metric in figures["metrics"]}
    for metric in found["difference"]:
        assert metric["value"] == pytest.approx(mine[metric["name"]] - values[metric["name"]]["value"])
        assert metric["method"] == "paired bootstrap"
    assert "HistGradientBoosting" in figures["notes"][1]
    assert result.summary["reference"]["accuracy"] == values["accuracy"]["value"]
    train(flowers, "again", **FLOWERS)
    assert read_figures(tmp_path / "again") == figures


def test_without_it_the_figures_are_those_of_before(train, flowers, tmp_path):
    train(flowers, **{**FLOWERS, "reference": False})
    assert "references" not in read_figures(tmp_path / "out")
    old = (tmp_path / "out" / "figures.json").read_text()
    assert Figures.read(tmp_path / "out" / "figures.json").to_json() == old


def test_no_scikit_learn_is_no_failure(train, flowers, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "is_available", lambda: False)
    train(flowers, **FLOWERS)
    assert "references" not in read_figures(tmp_path / "out")


def test_a_forecast_sees_the_same_windows(train, waves, tmp_path):
    train(waves, task="forecast", target="height", lags=12, reference=True)
    figures = read_figures(tmp_path / "out")
    found = {metric["name"]: metric["value"] for metric in figures["references"][0]["metrics"]}
    simple = {metric["name"]: metric["value"] for metric in figures["baseline"]["metrics"]}
    assert found["rmse"] < simple["rmse"] / 2
    assert figures["references"][0]["difference"][0]["method"] == "paired block bootstrap"


def test_categories_are_categories_there_too(table):
    spec = TrainSpec(**{**QUICK, **FIELDS})
    examples = run.read_examples(table(**draw_columns()), spec)
    assert reference._select_categorical(examples) == [1, 2]
    rows = examples.parts.test
    fitted = reference.fit_reference(spec, examples, None, ReferencePlan(140, 30))
    assert (fitted.outputs.argmax(axis=1) == examples.target[rows]).mean() > 0.9


def test_some_rows_have_one_of_each_class(table):
    kinds = ["rose"] * 2 + ["daisy"] * 198
    spec = TrainSpec(**{**QUICK, **FLOWERS})
    examples = run.read_examples(table(x=np.arange(200.0), kind=kinds), spec)
    rows = reference._select_rows(spec, examples, 20)
    assert 20 <= len(rows) <= 22
    assert set(rows) <= set(examples.parts.training)
    assert set(examples.target[rows]) == {0, 1}


def test_the_work_is_bounded():
    assert plan_reference(400, 30, 2) == ReferencePlan(400, ITERATIONS)
    assert plan_reference(10**6, 20, 0) == ReferencePlan(MOST_ROWS, ITERATIONS)
    wide = plan_reference(10**6, 4096, 0)
    assert wide.rows == FEWEST_ROWS
    assert 10 <= wide.iterations < ITERATIONS
    assert plan_reference(10**6, 20, 1000) is None
