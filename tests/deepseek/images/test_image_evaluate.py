"""`evaluate` on a folder of images."""

import csv
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from deepseek.evaluate.run import run
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.images.evaluate import build_label_measures
from deepseek.job import EngineError, Silent
from tests.deepseek.conftest import Recorder
from tests.deepseek.images.conftest import fill_folder
from tests.deepseek.test_cli import fine


def evaluate(trained, folder, out, report=None, **fields):
    inputs = {"model": trained.out / "model.safetensors", "manifest": trained.out / "model.json", "table": folder}
    spec = EvaluateSpec(**{"runs": 20, "batches": [1], "replicates": 200} | fields)
    return run(spec, inputs=inputs, out=out, report=report or Silent())


@pytest.fixture
def other(tmp_path):
    return fill_folder(tmp_path / "other", 12)


class Measured:
    """An evaluation that several tests look at: of 36 images, one of them broken."""

    def __init__(self, trained, folder):
        self.folder, self.out, self.report = fill_folder(folder / "images", 12), folder / "out", Recorder()
        (self.folder / "dark/0.png").write_bytes(b"no image")
        self.document = evaluate(trained, self.folder, self.out, self.report).outputs[0].meta


@pytest.fixture(scope="module")
def measured(trained, tmp_path_factory):
    return Measured(trained, tmp_path_factory.mktemp("measured"))


def test_a_model_is_measured_on_a_folder(measured):
    document = measured.document
    assert (document["task"], document["target"], document["rows"], document["left_out"]) == (
        *("classification", "label", 35, 1),
    )
    assert "1 images have no label or cannot be decoded" in document["notes"][0]
    metrics = {metric["name"]: metric for metric in document["metrics"]}
    assert set(metrics) >= {"accuracy", "f1_macro", "auc", "log_loss", "brier", "ece", "recall_dark", "f1_striped"}
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    assert metrics["recall_dark"]["low"] <= metrics["recall_dark"]["value"] <= metrics["recall_dark"]["high"]
    assert document["latency"][0]["p50_us"] > 0
    assert sum(entry["rows"] for entry in document["calibration"]) == 35
    assert ("compare", 35, 35, "images") in measured.report.stages
    series = json.loads((measured.out / "replicates.json").read_text())["series"]
    assert [entry["metric"] for entry in series] == list(metrics)


def test_rows_say_what_was_predicted_of_each_image(measured):
    rows = pq.read_table(measured.out / "rows.parquet")
    assert rows.column_names[:6] == ["row", "path", "target", "prediction", "share", "loss"]
    hits = [row["target"] == row["prediction"] for row in rows.to_pylist()]
    assert np.mean(hits) == pytest.approx(measured.document["metrics"][0]["value"])
    assert all(row["path"].startswith(row["target"]) for row in rows.to_pylist())
    assert "dark/0.png" not in rows["path"].to_pylist()


def test_evaluations_pair_only_on_the_same_images(trained, measured, tmp_path):
    again = evaluate(trained, measured.folder, tmp_path / "again")
    for name in ("rows.parquet", "replicates.json"):
        assert (measured.out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    other = shutil.copytree(measured.folder, tmp_path / "images")
    (other / "dark/1.png").write_bytes((other / "dark/2.png").read_bytes())
    changed = evaluate(trained, other, tmp_path / "changed")
    for key in ("pairing", "table"):
        assert measured.document[key] == again.outputs[0].meta[key] != changed.outputs[0].meta[key]


def test_only_the_part_test_is_measured_where_there_is_one(trained, other, tmp_path):
    paths = sorted(path.relative_to(other).as_posix() for path in other.rglob("*.png"))
    with (other / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        rows.writerows([path, path.partition("/")[0], "train" if path.endswith("0.png") else "test"] for path in paths)
    document = evaluate(trained, other, tmp_path / "out").outputs[0].meta
    assert document["rows"] == 30  # 0.png and 10.png of each class are for training
    assert "its 30 images are measured, not the 6 others" in document["notes"][0]


def test_what_is_wrong_is_refused(trained, other, tmp_path):
    (tmp_path / "table.csv").write_text("a\n1\n")
    named = fill_folder(tmp_path / "named", 5)
    (named / "dark").rename(named / "gloomy")
    cases = {
        "slices": (other, {"slices": [{"column": "label"}]}, "family_unsupported", "/slices"),
        "group": (other, {"group": "label"}, "family_unsupported", "/group"),
        "horizon": (other, {"horizon": 2}, "family_unsupported", "/horizon"),
        "positive": (other, {"positive": "dark"}, "positive_unknown", "/positive"),
        "a file": (tmp_path / "table.csv", {}, "no_images", "inputs/table"),
        "other labels": (named, {}, "class_unknown", "inputs/table"),
        "few": (fill_folder(tmp_path / "small", 3), {}, "rows_too_few", "inputs/table"),
    }
    wrong = {}
    for name, (folder, fields, *expected) in cases.items():
        with pytest.raises(EngineError) as failure:
            evaluate(trained, folder, tmp_path / name, **fields)
        if [failure.value.code, failure.value.field] != expected:
            wrong[name] = (failure.value.code, failure.value.field, str(failure.value))
    assert wrong == {}


def test_figures_of_classes_have_names_of_their_own():
    guess, target, blocks = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.arange(4)
    measures = {measure.name: measure for measure in build_label_measures(guess, target, blocks, 4, ["cat", "macro"])}
    once = {name: measure.of(np.ones((1, 4)))[0] for name, measure in measures.items()}
    assert once == pytest.approx(
        {
            "recall_cat": 1,
            "precision_cat": 0.5,
            "f1_cat": 2 / 3,
            "recall_macro (2)": 2 / 3,
            "precision_macro (2)": 1,
            "f1_macro (2)": 0.8,
        }
    )


def test_the_command_takes_a_model_of_images(trained, other, deepseek, tmp_path):
    fine(deepseek("evaluate", trained.out, other, "-o", "out", "--runs", 20, "--batches", "1", "--replicates", 200))
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["rows"] == 36
