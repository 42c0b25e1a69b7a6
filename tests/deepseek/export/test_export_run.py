"""Exporting one model: what comes out, and that other programs get the same from it."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from deepseek.export import forms
from deepseek.export.run import run
from deepseek.export.spec import ExportSpec
from deepseek.job import EngineError
from deepseek.models.figures import Figures
from deepseek.models.folder import find_model_files
from deepseek.models.heldout import Heldout, write_heldout
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.models.network import load_network
from deepseek.models.predictor import load_predictor
from tests.deepseek.export.conftest import export_to

FORMS = {"model.pt2", "model.pt", "model.onnx", "manifest.json"}
INPUTS = {"mlp": ["rows", 3], "image": ["rows", 3, 32, 32], "entities": ["rows", "tokens", 10]}


def draw(family, rows, tokens):
    """Inputs that the export did not draw."""
    random = torch.Generator().manual_seed(99)
    if family == "image":
        return 255 * torch.rand(rows, 3, 32, 32, generator=random)
    if family == "mlp":
        return torch.cat([torch.randn(rows, 2, generator=random), torch.ones(rows, 1)], dim=1)
    return torch.randint(1, 10, (rows, tokens, 10), generator=random)


def test_every_form_of_every_family_gives_what_the_network_gives(exported):
    """Of a batch of another size, and texts of another length, than any that the export itself saw."""
    wrong = []
    for family, (folder, out) in exported.items():
        network = load_network(ModelManifest.read(folder / "model.json"), folder / "model.safetensors")
        session = onnxruntime.InferenceSession(str(out / "model.onnx"))
        calls = {
            "pt2": torch.export.load(out / "model.pt2").module(),
            "torchscript": forms.open_torchscript(out / "model.pt"),
            "onnx": lambda x, session=session: torch.from_numpy(
                session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
            ),
        }
        for values in (draw(family, 4, 12), draw(family, 1, 1)):
            with torch.no_grad():
                expected = network(values)
                for form, call in calls.items():
                    difference = float((call(values) - expected).abs().max())
                    if not difference <= 1e-5:
                        wrong.append((family, form, tuple(values.shape), difference))
    assert wrong == []


def test_the_manifest(exported):
    for family, (folder, out) in exported.items():
        document = json.loads((out / "manifest.json").read_text())
        assert (document["schema"], document["family"]) == ("plane/export/v1", family)
        assert document["parent"] == compute_file_sha256(folder / "model.json")
        assert document["model"] == compute_file_sha256(folder / "model.safetensors")
        assert document["inputs"][0]["shape"] == INPUTS[family]
        assert {path.name for path in out.iterdir()} == set(document["files"]) | {"manifest.json"} >= FORMS
        assert document["files"] == {
            name: {"sha256": compute_file_sha256(out / name), "size": (out / name).stat().st_size}
            for name in document["files"]
        }
        assert [record["form"] for record in document["forms"]] == ["pt2", "torchscript", "onnx"]
        for record in document["forms"]:
            assert len({tuple(one["shape"]) for one in record["comparisons"]}) == 3
            assert all(one["max_rel_difference"] <= record["tolerance"] for one in record["comparisons"])
        assert {"torch", "onnx", "onnxruntime", "deepseek-offline"} <= set(document["tools"])


def test_what_the_manifest_says_of_raw_data(exported):
    documents = {family: json.loads((out / "manifest.json").read_text()) for family, (_, out) in exported.items()}
    assert documents["mlp"]["preprocessing"]["columns"] == [
        {"name": "width", "kind": "number", "mean": 0.0, "scale": 1.0},
        {"name": "height", "kind": "number", "mean": 0.0, "scale": 1.0},
        {"name": "color", "kind": "category", "categories": ["blue", "red"], "other": 2},
    ]
    assert documents["mlp"]["classes"] == ["no", "yes"]
    assert documents["image"]["preprocessing"]["resize"]["height"] == 32
    assert documents["image"]["preprocessing"]["normalization"]["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert documents["entities"]["postprocessing"]["tags"] == ["O", "B-PER", "I-PER", "B-ORG", "I-ORG"]
    words = json.loads((exported["entities"][1] / "vocabulary.json").read_text())
    assert words[:2] == ["word0", "word1"]


def test_our_loaders_take_the_torchscript_form(exported):
    wrong = []
    for family in ("mlp", "image"):
        folder, out = exported[family]
        values = draw(family, 5, 0).numpy()
        opened, expected = load_predictor(out), load_predictor(folder).predict(values)
        if opened.manifest.format != "torchscript" or not np.allclose(opened.predict(values), expected, atol=1e-5):
            wrong.append(family)
    assert wrong == []


def test_equal_exports_give_equal_bytes_without_paths_of_this_machine(exported, tmp_path):
    folder, out = exported["mlp"]
    export_to(tmp_path / "again", folder)
    for path in out.iterdir():
        data = path.read_bytes()
        assert data == (tmp_path / "again" / path.name).read_bytes(), path.name
        assert b"site-packages" not in data
        assert str(folder).encode() not in data
        assert forms.__file__.removesuffix("export/forms.py").encode() not in data


def test_large_weights_of_onnx_lie_in_a_file_beside_it(model, tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "INLINE_BYTES", 0)
    result = export_to(tmp_path / "out", model, forms=["onnx"])
    document = json.loads((tmp_path / "out/manifest.json").read_text())
    assert set(document["files"]) == {"model.onnx", "model.onnx.data"}
    assert document["files"]["model.onnx.data"]["sha256"] == compute_file_sha256(tmp_path / "out/model.onnx.data")
    assert [output.slot for output in result.outputs] == ["onnx", "onnx_data", "export"]


def test_the_torchscript_form_is_measured_on_held_out_rows(exported, tmp_path, report):
    """Of tables and images, with no times: so it can be registered, and equal exports give equal bytes."""
    rows = {
        "mlp": Heldout(draw("mlp", 20, 0).numpy(), np.arange(20) % 2),
        "image": Heldout(draw("image", 20, 0).numpy().astype(np.uint8), np.arange(20) % 2),
    }
    for family, heldout in rows.items():
        folder, out = exported[family][0], tmp_path / family
        write_heldout(heldout, tmp_path / f"{family}.safetensors")
        inputs = find_model_files(folder) | {"heldout": tmp_path / f"{family}.safetensors"}
        result = run(ExportSpec(forms=["torchscript"]), inputs=inputs, out=out, report=report)
        assert {o.slot for o in result.outputs} == {"model", "manifest", "figures", "export"}
        manifest, figures = ModelManifest.read(out / "model.json"), Figures.read(out / "figures.json")
        shares = load_predictor(folder).predict(heldout.features.astype(np.float32))
        correct = float((shares.argmax(axis=1) == heldout.target).mean())
        assert (figures.variant, figures.rows, figures.latency) == (manifest.variant, 20, [])
        assert {metric.name: metric.value for metric in figures.metrics}["accuracy"] == pytest.approx(correct)
        assert (figures.agreement.same_class.value, figures.size_bytes) == (1.0, manifest.file.size)
    texts = find_model_files(exported["entities"][0]) | {"heldout": tmp_path / "mlp.safetensors"}
    with pytest.raises(EngineError) as caught:
        run(ExportSpec(), inputs=texts, out=tmp_path / "texts", report=report)
    assert (caught.value.code, caught.value.field) == ("wrong_inputs", "inputs/heldout")


def test_the_command(deepseek, model, tmp_path):
    write_heldout(Heldout(draw("mlp", 8, 0).numpy(), np.arange(8) % 2), model / "heldout.safetensors")
    ended = deepseek("export", model, "-o", "out", "--forms", "pt2,torchscript")
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    assert "pt2: out/model.pt2" in ended.stdout
    assert "model: out/model.pt\n" in ended.stdout
    again = deepseek("export", model, "-o", "out")
    assert (again.returncode, "already exists" in again.stderr) == (2, True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == (FORMS | {"model.json", "figures.json"}) - {
        "model.onnx"
    }
    unknown = deepseek("export", model, "-o", "other", "--forms", "pt2,tflite")
    assert (unknown.returncode, "/forms/1" in unknown.stderr, "'torchscript'" in unknown.stderr) == (2, True, True)
