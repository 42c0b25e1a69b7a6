import json

import numpy as np
import pytest

from tests.deepseek.models.making import make_model
from tests.deepseek.test_cli import fine, refused

ROWS = "".join(f"{i % 7},{i % 3},{i % 5},{i % 4}\n" for i in range(40))
QUICK = ["--runs", 20, "--batches", "1", "--replicates", 200]


@pytest.fixture
def model(tmp_path):
    make_model(tmp_path / "model", task="regression", inputs=3)
    (tmp_path / "table.csv").write_text(f"x0,x1,x2,y\n{ROWS}")


@pytest.mark.usefixtures("model")
def test_a_process_measures_a_model_folder_on_a_table(deepseek_script, tmp_path):
    slices = json.dumps([{"column": "x1"}])
    env = {"PYTHONPROFILEIMPORTTIME": "1"}
    run = fine(deepseek_script("evaluate", "model", "table.csv", "-o", "out", *QUICK, "--slices", slices, env=env))
    assert " torch" in run.stderr  # the imports
    assert " torchvision" not in run.stderr
    assert "rows: 40" in run.stdout
    assert "metrics: rmse " in run.stdout
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["slices"][0]["column"] == "x1"
    assert np.isfinite(json.loads((tmp_path / "out/evaluation.json").read_text())["metrics"][0]["low"])


@pytest.mark.usefixtures("model")
def test_predictions_instead_of_a_model(deepseek, tmp_path):
    (tmp_path / "said.csv").write_text("prediction\n" + "1.5\n" * 40)
    words = ["--predictions", "said.csv", "table.csv", "-o", "out", "--task", "regression", "--target", "y"]
    run = fine(deepseek("evaluate", *words, "--replicates", 200))
    assert "variant: predictions" in run.stdout
    told = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert (told["rows"], told["memory"]) == (40, None)


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--target", "y"], ["field: /task"]),
        (["--task", "regression", "--target", "z"], ["no column 'z'", "field: /target"]),
        (["--task", "classification", "--target", "y"], ["field: inputs/predictions", "value: 9", "limit: 0, 1, 2, 3"]),
        (["--task", "forecast", "--target", "y"], ["field: /horizon"]),
        (["--task", "regression", "--target", "y", "--runs", "20"], ["unrecognized arguments"]),
    ],
)
def test_wrong_predictions_are_explained(deepseek, tmp_path, words, parts):
    (tmp_path / "said.csv").write_text("prediction\n" + "9\n" * 40)
    refused(deepseek("evaluate", "--predictions=said.csv", "table.csv", "-o", "out", *words), *parts)


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["model", "none.csv", "-o", "out"], ["none.csv"]),
        (["nowhere", "table.csv", "-o", "out"], ["is no folder of a model"]),
        (["model", "table.csv", "-o", "out", "--replicates", "1"], ["field: /replicates", "at least 200"]),
        (["model", "table.csv", "-o", "out", "--slices", "x1"], ["a JSON list"]),
        (["model", "table.csv"], ["-o/--out"]),
    ],
)
def test_bad_input_is_explained(deepseek, words, parts):
    refused(deepseek("evaluate", *words), *parts)
