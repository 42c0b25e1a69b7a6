"""Every family and its candidates: what is made, measured, written, and opened again."""

import numpy as np
import pytest

from deepseek.models.figures import Figures
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.serve.loading import open_predictor
from tests.deepseek.export.conftest import shorten_resnet
from tests.deepseek.quantize.conftest import find_form

FP32 = ["fp32", "fp32-torchscript", "fp32-onnx"]
MADE = {
    "mlp": [*FP32, "int8", "int8-onnx", "int8-static"],
    "image": [*FP32, "int8-static"],
    "entities": [*FP32, "int8", "int8-onnx"],
}
WITHOUT_FILE = {("entities", "fp32-torchscript"), ("entities", "int8")}  # no place for the vocabulary
DEPENDENT = {("mlp", "int8"), ("mlp", "int8-onnx"), ("entities", "int8"), ("entities", "int8-onnx")}


LEFT_OUT = {
    "mlp": {},
    "image": {"int8": "convolutions", "int8-onnx": "convolutions", "int8-torchao": "convolutions"},
    "entities": {"int8-static": "attention"},
}


@pytest.mark.parametrize("family", MADE)
def test_forms_of_a_family(quantize_family, monkeypatch, family):
    """Each form has times, accuracy with paired intervals, size and memory; one with a file opens as a model, and the
    forms with dynamic ranges are flagged, as a row's outputs depend on its batch."""
    shorten_resnet(monkeypatch)
    document, out, _ = quantize_family(family)
    made = {form.name: form for form in document.variants if form.name != "int8-torchao"}
    assert list(made) == MADE[family]
    wrong = []
    for name, form in made.items():
        cell, parent = (family, name), name == "fp32"
        has_file = not parent and cell not in WITHOUT_FILE
        checks = {
            "timings": {(one.batch, one.threads) for one in form.timings}
            == {(batch, threads) for batch in document.batches for threads in document.threads},
            "percentiles": all(0 < one.p50_us <= one.p95_us and one.ratio > 0 for one in form.timings),
            "metrics": all(one.low <= one.value <= one.high for one in form.metrics) and form.metrics,
            "difference": all(one.method.startswith("paired") for one in form.difference),
            "loss": form.loss.low <= form.loss.value <= form.loss.high,
            "size": form.size_bytes > 0 and form.memory_bytes >= 0,
            "error": (form.max_relative_error < 1e-4) == (form.precision == "fp32"),
            "dependence": form.batch_dependence.depends == (cell in DEPENDENT),
            "slot": (form.slot is not None) == has_file,
        }
        if has_file:
            folder = find_form(out, name)
            manifest, figures = ModelManifest.read(folder / "model.json"), Figures.read(folder / "figures.json")
            checks |= {
                "path": out / form.path == folder / manifest.file.name,
                "bytes": compute_file_sha256(out / form.path) == form.sha256 == manifest.file.sha256,
                "parent": (manifest.parent, manifest.variant) == (document.parent, name),
                "figures": (figures.variant, figures.allowance.loss) == (name, form.loss),
                "opens": open_predictor(folder) is not None,
            }
        wrong += [(cell, check) for check, held in checks.items() if not held]
    assert wrong == []


@pytest.mark.parametrize("family", MADE)
def test_left_out_and_recommended(quantize_family, family):
    """What does not fit is named with its reason; what is recommended has a file and lies at the top."""
    document, out, result = quantize_family(family)
    reasons = {left.name: left.reason for left in document.left_out if left.reason != "package_missing"}
    assert reasons == LEFT_OUT[family]
    (best,) = [form for form in document.variants if form.verdict == "recommended"]
    assert (best.name, best.slot) == (document.recommended, "model")
    assert ModelManifest.read(out / "model.json").variant == best.name
    slots = {output.slot: output.path for output in result.outputs}
    assert {"model", "manifest", "figures", "exported", "tradeoff"} <= set(slots)
    assert all((out / path).is_file() for path in slots.values())
    assert {form.slot for form in document.variants if form.slot} <= set(slots)


def test_the_text_s_entities_are_the_same_in_onnx(quantize_family):
    _, out, _ = quantize_family("entities")
    model = open_predictor(find_form(out, "fp32-onnx"))
    assert len(model.predict(["word1 left word2.", ""])) == 2


def test_static_ranges_do_not_depend_on_the_batch(quantize_family, monkeypatch):
    shorten_resnet(monkeypatch)
    _, out, _ = quantize_family("image")
    model = open_predictor(find_form(out, "int8-static"))
    images = np.random.default_rng(1).integers(0, 256, (5, 3, 32, 32)).astype(np.float32)
    alone = np.concatenate([model.predict(images[at : at + 1]) for at in range(5)])
    assert np.array_equal(model.predict(images), alone)
