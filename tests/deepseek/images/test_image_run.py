"""A training on images: what it writes, where it begins, and that one that is stopped ends as one that is not."""

import base64
import json
from io import BytesIO

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from deepseek.diagnostics.document import Diagnostics
from deepseek.images.network import ImageNetwork
from deepseek.job import EngineError
from deepseek.models.figures import Figures
from deepseek.models.heldout import read_heldout
from deepseek.models.manifest import ImageArchitecture
from deepseek.models.predictor import load_predictor
from tests.deepseek.conftest import Recorder
from tests.deepseek.images.conftest import CLASSES, fill_folder
from tests.deepseek.killing import train_until_killed

RESUMED = {
    "epochs": 3,
    "checkpoint_every": 2,
    "dropout": 0.3,
    "augmentation": ["flip", "crop", "color"],
    "schedule": {"warmup_steps": 4, "first_batch": 4, "last_batch": 8, "max_lr": 0.003},
}


def test_the_outputs_say_what_was_learned(trained):
    figures = Figures.read(trained.out / "figures.json")
    values = {metric.name: metric for metric in figures.metrics}
    assert values["accuracy"].value > 0.8 > figures.baseline.metrics[0].value
    assert values["accuracy"].low < values["accuracy"].value <= values["accuracy"].high
    assert [(of.name, of.rows) for of in figures.classes] == [(name, 2) for name in CLASSES]
    slots = [output.slot for output in trained.result.outputs]
    drawings = [f"plots/{name}.svg" for name in ("calibration", "confusion", "precision_recall", "roc")]
    assert [slot for slot in slots if "/" not in slot] == [
        *("model", "manifest", "figures", "heldout", "diagnostics", "samples")
    ]
    assert sorted(slot for slot in slots if "/" in slot) == drawings
    assert trained.manifest.classes == list(CLASSES)
    assert set(trained.manifest.inputs) == {"images"}
    assert 0 <= trained.report.metrics["system/data_loading_share"] < 1


def test_diagnostics_are_of_the_held_out_images(trained):
    diagnostics = Diagnostics.model_validate_json((trained.out / "diagnostics.json").read_bytes())
    assert (diagnostics.task, diagnostics.target, diagnostics.rows) == ("classification", "label", 6)
    assert diagnostics.confusion.labels == list(CLASSES)
    right = sum(diagnostics.confusion.counts[place][place] for place in range(3)) / 6
    assert right == pytest.approx(trained.result.summary["metrics"]["accuracy"])
    assert [curves.label for curves in diagnostics.curves] == list(CLASSES)
    assert sum(entry.rows for entry in diagnostics.calibration) == 6


def test_the_model_predicts_its_held_out_images(trained):
    heldout = read_heldout(trained.out / "heldout.safetensors", trained.manifest)
    assert (heldout.features.dtype, heldout.features.shape) == (np.uint8, (6, 3, 32, 32))
    outputs = load_predictor(trained.out).predict(heldout.features.astype(np.float32))
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-5)
    accuracy = trained.result.summary["metrics"]["accuracy"]
    assert (outputs.argmax(axis=1) == heldout.target).mean() == pytest.approx(accuracy)


def test_samples_are_small_pictures_of_what_was_wrong(train, images):
    train(images, epochs=1, schedule={"warmup_steps": 0, "init_lr": 1e-9, "max_lr": 1e-9})
    document = json.loads((images.parent / "out/samples.json").read_text())
    assert (document["schema"], document["kind"]) == ("plane/samples/v1", "image")
    shares = [sample["share"] for sample in document["samples"]]
    assert shares == sorted(shares, reverse=True)
    sample = document["samples"][0]
    assert sample["target"] != sample["prediction"]
    assert sample["share"] >= sample["target_share"]
    head, _, data = sample["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(BytesIO(base64.b64decode(data))).size == (32, 32)


@pytest.mark.parametrize(("at", "later"), [(2, 1), (6, 0)])
def test_going_on_is_bit_exact(train, images, tmp_path, at, later):
    whole = train(images, "whole", **RESUMED)
    train_until_killed(lambda report: train(images, "out", **RESUMED, report=report), at, later)
    assert train(images, "out", **RESUMED) == whole
    for name in ("model.safetensors", "model.json", "figures.json", "heldout.safetensors", "diagnostics.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_checkpointing_and_micro_batches_do_not_change_what_is_possible(train, images, tmp_path):
    plain, again = train(images, "plain"), train(images, "again", activation_checkpointing=True)
    assert plain.summary == again.summary
    weights = [safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("plain", "again")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert train(images, "parts", micro_batch=3).summary["steps"] == plain.summary["steps"]


def test_a_last_batch_of_one_image(train, images):
    schedule = {"warmup_steps": 0, "first_batch": 21, "last_batch": 21}  # of 22 images, each down to one pixel
    assert train(images, epochs=1, backbone="resnet18", schedule=schedule).summary["steps"] == 2


def test_weights_given_are_begun_from(trained, train, tmp_path):
    """From a model with the same classes all of it, from one with others all but the last layer."""
    still = {"warmup_steps": 0, "init_lr": 1e-9, "max_lr": 1e-9}
    report = Recorder()
    inputs = {"weights": trained.out / "model.safetensors"}
    result = train(trained.folder, "same", schedule=still, epochs=1, inputs=inputs, report=report)
    assert result.summary["metrics"]["accuracy"] > 0.8
    assert ("info", "begins from the weights given") in report.lines
    two = fill_folder(tmp_path / "two", kinds=("dark", "bright"))
    train(two, "other", schedule=still, epochs=1, inputs=inputs, report=report)
    assert any("its last layer is fresh" in line for _, line in report.lines)


def test_weights_that_do_not_fit_are_refused(trained, train, tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "pickle")
    (tmp_path / "text").write_text("no tensors")
    other = ImageNetwork(ImageArchitecture(backbone="resnet18", height=32, width=32, outputs=3))
    safetensors.torch.save_file(other.backbone.state_dict(), tmp_path / "resnet")
    codes = {"pickle": "model_unsafe", "text": "model_unreadable", "resnet": "weights_mismatch"}
    for name, code in codes.items():
        with pytest.raises(EngineError) as refused:
            train(trained.folder, inputs={"weights": tmp_path / name})
        assert (refused.value.code, refused.value.field) == (code, "inputs/weights")
    assert refused.value.value == "features.0.0.weight: none"
