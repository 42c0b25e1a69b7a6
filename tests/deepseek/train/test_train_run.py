"""A training from table to files: what it makes, that it repeats, and how it fails."""

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch

from deepseek.diagnostics.document import Diagnostics
from deepseek.diagnostics.samples import SAMPLES
from deepseek.job import EngineError, Silent, build_checkpoint_path
from deepseek.models.figures import Figures
from deepseek.models.heldout import read_heldout
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.models.network import load_network
from deepseek.train import loop
from deepseek.train.run import predict, run
from deepseek.train.spec import TrainSpec

FILES = ("model.safetensors", "model.json", "figures.json", "heldout.safetensors")
PLOTS = tuple(f"plots/{name}.svg" for name in ("roc", "precision_recall", "calibration", "confusion", "importance"))
DRAWN = ("diagnostics.json", *PLOTS, "samples.json")
FLOWERS = {"task": "classification", "target": "kind"}
WAVES = {"task": "forecast", "target": "height", "lags": 12, "hidden": [16], "epochs": 30}


def test_a_classification(train, flowers, tmp_path, report):
    result = train(flowers, **FLOWERS, epochs=20, report=report)
    slots = ["model", "manifest", "figures", "heldout", "diagnostics", *PLOTS, "samples"]
    assert [o.slot for o in result.outputs] == slots
    assert [o.path for o in result.outputs] == [*FILES, *DRAWN]
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {*FILES, *DRAWN}
    manifest = ModelManifest.read(tmp_path / "out/model.json")
    assert (manifest.features, manifest.classes) == (["length", "width"], ["daisy", "rose"])
    assert manifest.inputs == {"table": compute_file_sha256(flowers)}
    assert TrainSpec.model_validate(manifest.spec).epochs == 20
    assert result.metrics["accuracy"] > 0.9
    assert result.metrics["log_loss"] < result.summary["baseline"]["log_loss"]


def test_the_figures_are_of_the_files(train, flowers, tmp_path):
    """Anybody can measure again: the model on the held-out rows gives what figures.json says."""
    result = train(flowers, **FLOWERS)
    manifest = ModelManifest.read(tmp_path / "out/model.json")
    rows = read_heldout(tmp_path / "out/heldout.safetensors", manifest)
    network = load_network(manifest, tmp_path / "out/model.safetensors")
    figures = Figures.read(tmp_path / "out/figures.json")
    hits = (predict(network, rows.features).argmax(axis=1) == rows.target).mean()
    assert figures.metrics[0].value == hits == result.metrics["accuracy"]
    assert figures.rows == len(rows.target) == 18
    assert figures.metrics[0].low < hits
    assert figures.size_bytes == (tmp_path / "out/model.safetensors").stat().st_size
    table = pq.read_table(flowers)
    row = np.flatnonzero(np.float32(table["length"]) == rows.features[0, 0])[0]
    assert table["kind"][row].as_py() == manifest.classes[rows.target[0]]


def test_a_forecast_beats_the_last_value_of_a_wave(train, waves, tmp_path):
    result = train(waves, **WAVES)
    figures = Figures.read(tmp_path / "out/figures.json")
    assert figures.baseline.name == "last value"
    assert result.metrics["rmse"] < 0.4 * result.summary["baseline"]["rmse"]
    assert figures.notes[0].endswith("the model is better.")
    assert ModelManifest.read(tmp_path / "out/model.json").architecture.residual


def test_diagnostics_are_of_the_held_out_rows(train, flowers, tmp_path):
    result = train(flowers, **FLOWERS)
    made = Diagnostics.model_validate_json((tmp_path / "out/diagnostics.json").read_bytes())
    assert (made.task, made.target, made.rows, made.confusion.labels) == (
        "classification",
        "kind",
        18,
        ["daisy", "rose"],
    )
    assert made.importance.value == pytest.approx(result.metrics["accuracy"], abs=1e-5)
    assert {feature.name for feature in made.importance.features} == {"length", "width"}
    samples = SAMPLES.validate_json((tmp_path / "out/samples.json").read_bytes())
    assert samples.kind == "rows"
    assert list(samples.samples[0].features) == [feature.name for feature in made.importance.features]


def test_diagnostics_of_a_forecast(train, waves, tmp_path):
    train(waves, **WAVES)
    made = Diagnostics.model_validate_json((tmp_path / "out/diagnostics.json").read_bytes())
    assert (made.task, made.curves, len(made.scatter.rows)) == ("forecast", [], made.rows)
    assert made.importance.features[0].name == "height[t]"


def test_a_regression_beats_the_mean(train, table):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 3))
    path = table(a=x[:, 0], b=1e6 * x[:, 1], c=x[:, 2], y=1000 + 50 * (x[:, 0] - x[:, 1] ** 2))
    result = train(path, task="regression", target="y", hidden=[32], epochs=60)
    assert result.summary["baseline"]["r2"] < 0.1
    assert result.metrics["r2"] > 0.9


@pytest.mark.parametrize("fields", [{"dropout": 0.3}, {"hidden": []}, {"activation": "tanh", "weight_decay": 0.5}])
def test_equal_runs_are_equal_files(train, flowers, tmp_path, fields):
    one = train(flowers, "one", **FLOWERS, **fields)
    torch.rand(5)  # what else happens in the process does not matter
    two = train(flowers, "two", **FLOWERS, **fields)
    assert one == two
    for name in (*FILES, *DRAWN):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_seed_decides(train, flowers):
    assert train(flowers, "one", **FLOWERS) != train(flowers, "two", **FLOWERS, seed=1)


def test_metrics_by_step(train, flowers, report, monkeypatch):
    monkeypatch.setattr(loop, "MOST_POINTS", 7)
    result = train(flowers, **FLOWERS, report=report)
    points = {name: [step for n, step, _ in report.points if n == name] for name in report.metrics}
    steps = result.summary["steps"]
    assert points["validation_loss"] == [11, 22, 28, 34]  # 84 rows: twice in eights, twice in sixteens
    assert points["train_loss"] == points["learning_rate"] == list(range(5, steps, 5))
    assert [value for name, _, value in report.points if name == "batch_size"] == [8, 8, 8, 8, 16, 16]
    assert all(math.isfinite(value) for _, _, value in report.points)
    assert ("train", 30, 34, "steps") in report.stages
    assert report.stages[-1][0] == "measure"


def test_early_stopping_keeps_the_best_weights(train, table, tmp_path, report):
    noise = np.random.default_rng(0).normal(size=(60, 6))
    path = table(**{f"x{i}": noise[:, i] for i in range(5)}, y=noise[:, 5])
    schedule = {"max_lr": 0.05, "warmup_steps": 1, "first_batch": 8, "last_batch": 8}
    fields = {"task": "regression", "target": "y", "hidden": [64], "schedule": schedule}
    result = train(path, **fields, epochs=100, patience=3, report=report)
    losses = [value for name, _, value in report.points if name == "validation_loss"]
    assert result.summary["epochs"] == len(losses) < 100
    assert result.summary["best_epoch"] == losses.index(min(losses)) + 1 == len(losses) - 3
    again = train(path, "again", **fields, epochs=result.summary["best_epoch"], patience=0)
    assert again.metrics == result.metrics


def test_nothing_to_learn_is_said(train, table, report):
    """What the training rows say is wrong for the later ones."""
    x = np.random.default_rng(3).normal(size=100)
    path = table(x=x, y=np.where(np.arange(100) < 70, x, -x))
    result = train(path, task="regression", target="y", split="ordered", hidden=[], report=report)
    assert "No epoch had a lower validation loss" in result.summary["warnings"][0]
    assert ("warning", result.summary["warnings"][0]) in report.lines


def test_a_wide_network(train, flowers):
    result = train(flowers, **FLOWERS, hidden=[1024] * 6, epochs=3, schedule={"warmup_steps": 5})
    assert result.summary["parameters"] > 5_000_000
    assert result.metrics["accuracy"] > 0.8


def test_many_classes(train, table):
    codes = np.arange(1000).repeat(3)
    result = train(table(x=codes * 1.0, y=codes), task="classification", target="y", epochs=1)
    assert np.isfinite(list(result.metrics.values())).all()


class Keeps(Silent):
    def __init__(self):
        self.checkpoints = []

    def checkpoint(self, path, step):
        self.checkpoints.append((path, step))


def test_a_loss_that_is_not_finite(train, flowers, tmp_path, monkeypatch):
    """It stops before the step, names it, and the checkpoint that is kept holds finite weights."""
    whole = loop.Training.compute_loss
    calls = []

    def spoilt(self, rows, reduction):
        loss = whole(self, rows, reduction)
        calls.append(self.network.training)
        return loss * math.nan if sum(calls) == 8 else loss

    monkeypatch.setattr(loop.Training, "compute_loss", spoilt)
    report = Keeps()
    with pytest.raises(EngineError) as caught:
        train(flowers, **FLOWERS, checkpoint_every=3, report=report)
    assert caught.value.code == "loss_not_finite"
    assert "of step 8 is nan" in caught.value.message
    assert "of step 6, is kept" in caught.value.message
    assert report.checkpoints[-1] == (build_checkpoint_path(tmp_path / "out"), 6)
    assert not (tmp_path / "out").exists()
    state = safetensors.numpy.load(build_checkpoint_path(tmp_path / "out").read_bytes().split(b"\n", 2)[2])
    assert all(np.isfinite(tensor).all() for tensor in state.values())


def test_micro_batches_give_the_loss_of_the_whole_batch(train, flowers):
    losses = [
        train(flowers, f"out-{micro}", **FLOWERS, epochs=3, micro_batch=micro).summary["best_validation_loss"]
        for micro in (0, 5)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_gradient_that_is_not_finite(train, flowers, monkeypatch):
    whole = loop.Training.compute_loss

    def steep(self, rows, reduction):
        return _steep(whole(self, rows, reduction), self.network.training)

    monkeypatch.setattr(loop.Training, "compute_loss", steep)
    with pytest.raises(EngineError) as caught:
        train(flowers, **FLOWERS)
    assert caught.value.code == "loss_not_finite"
    assert "gradient of step 1 is" in caught.value.message
    assert "no checkpoint was due yet" in caught.value.message


def _steep(loss, training):
    """The loss, with a gradient that is infinite where it is zero."""
    return loss + torch.sqrt(loss - loss.detach()) if training else loss


def test_a_value_so_extreme_that_it_overflows(train, table):
    x = np.r_[3e38, np.full(50, -3e38), np.linspace(-2.9e38, -3e38, 49)]
    path = table(x=x, y=np.arange(100.0))
    with pytest.raises(EngineError) as caught:
        train(path, task="regression", target="y", split="ordered", activation="relu")
    assert caught.value.code == "loss_not_finite"
    assert "extreme values" in caught.value.hint


@pytest.mark.parametrize("slots", [{}, {"table": 1, "other": 2}])
def test_wrong_slots(tmp_path, slots):
    with pytest.raises(EngineError) as caught:
        run(TrainSpec(**FLOWERS), inputs=slots, out=tmp_path / "out", report=Silent())
    assert caught.value.code == "wrong_inputs"


def test_a_full_output_folder_is_refused_before_the_work(train, flowers, tmp_path, report):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(EngineError) as caught:
        train(flowers, **FLOWERS, report=report)
    assert (caught.value.code, report.stages) == ("output_exists", [])


def test_figures_name_no_time(train, flowers, tmp_path):
    train(flowers, **FLOWERS)
    assert json.loads((tmp_path / "out/figures.json").read_text())["latency"] == []
