"""Forms of a model become a version only when they belong together."""

import hashlib
import json

import pytest

from deepseek.job import EngineError, Silent
from deepseek.models.figures import Figures, Metric
from deepseek.models.manifest import ModelManifest
from deepseek.register.run import run
from deepseek.register.spec import RegisterSpec

ARCHITECTURE = {"inputs": 2, "hidden": [4], "outputs": 1, "activation": "relu", "output": "value"}
FORMATS = {"fp32": "safetensors", "int8": "torchscript", "compiled": "tvm"}
TABLE, ROWS = "a" * 64, "b" * 64


def tensor(name, width):
    return {"name": name, "dtype": "float32", "shape": [-1, width]}


def manifest_of(slot, data, **more):
    facts = {
        "variant": "tvm-x86_64" if slot == "compiled" else slot,
        "format": FORMATS[slot],
        "file": {"name": f"model.{slot}", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
        "task": "regression",
        "target": "y",
        "features": ["x1", "x2"],
        "signature": {"inputs": [tensor("features", 2)], "outputs": [tensor("prediction", 1)]},
        "architecture": ARCHITECTURE,
        "inputs": {"table": TABLE} if slot == "fp32" else {"heldout": ROWS},
    }
    return ModelManifest.model_validate(facts | more)


def figures_of(manifest, **more):
    metrics = [Metric(name="rmse", value=1.5, low=1.2, high=1.8, confidence=0.95, better="lower")]
    facts = {"variant": manifest.variant, "rows": 40, "metrics": metrics, "size_bytes": manifest.file.size}
    return Figures(**facts | more)


@pytest.fixture
def put(write):
    """put(slot, manifest={...}, figures={...}) -> the three input files of a form, with its manifest's digest."""

    def make(slot, parent=None, manifest=(), figures=()):
        data = f"bytes of {slot}".encode()
        described = manifest_of(slot, data, **{"parent": parent} | dict(manifest))
        made = {
            slot: write(data, slot),
            f"{slot}_manifest": write(described.to_json(), f"{slot}.json"),
            f"{slot}_figures": write(figures_of(described, **dict(figures)).to_json(), f"{slot}_figures.json"),
        }
        return made, described.compute_digest()

    return make


@pytest.fixture
def all_forms(put):
    """all_forms(slot, manifest=..., figures=...): three forms of one model, one of them changed."""

    def make(changed="", **more):
        fp32, digest = put("fp32", **(more if changed == "fp32" else {}))
        others = [put(slot, digest, **(more if changed == slot else {}))[0] for slot in ("int8", "compiled")]
        return fp32 | others[0] | others[1]

    return make


@pytest.fixture
def registered(tmp_path):
    return lambda inputs, **spec: run(RegisterSpec(**spec), inputs=inputs, out=tmp_path / "out", report=Silent())


def refused(registered, inputs):
    with pytest.raises(EngineError) as caught:
        registered(inputs)
    return caught.value


def test_three_forms_become_one_document(registered, all_forms, tmp_path):
    inputs = all_forms()
    result = registered(inputs, note="first")
    text = (tmp_path / "out" / "version.json").read_text()
    document = json.loads(text)
    assert result.outputs[0].meta == document
    assert text == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    assert (document["task"], document["note"], document["inputs"]) == ("regression", "first", {"table": TABLE})
    fp32, int8, compiled = document["variants"]
    assert [fp32["name"], int8["name"], compiled["name"]] == ["fp32", "int8", "tvm-x86_64"]
    assert fp32["model"] == hashlib.sha256(inputs["fp32"].read_bytes()).hexdigest()
    assert fp32["manifest"] == hashlib.sha256(inputs["fp32_manifest"].read_bytes()).hexdigest()
    assert [v["parent"] for v in document["variants"]] == [None, fp32["manifest"], fp32["manifest"]]
    assert (int8["heldout"], int8["figures"]["metrics"][0]["value"]) == (ROWS, 1.5)
    assert result.summary["variants"] == ["fp32", "int8", "tvm-x86_64"]


def test_equal_inputs_give_equal_bytes(registered, put, tmp_path):
    inputs, _ = put("fp32")
    texts = [
        run(RegisterSpec(), inputs=inputs, out=tmp_path / name, report=Silent())
        and (tmp_path / name / "version.json").read_bytes()
        for name in ("one", "two")
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "missing", ["fp32", "fp32_manifest", "fp32_figures", "int8", "int8_manifest", "compiled_figures"]
)
def test_a_form_comes_whole(missing, registered, all_forms, tmp_path):
    inputs = all_forms()
    del inputs[missing]
    error = refused(registered, inputs)
    assert (error.code, error.field) == ("input_missing", f"inputs/{missing}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("slot", ["fp32", "int8", "compiled"])
def test_a_tampered_model_is_named(slot, registered, all_forms):
    inputs = all_forms()
    inputs[slot].write_bytes(b"other bytes")
    error = refused(registered, inputs)
    assert (error.code, error.field) == ("model_tampered", f"inputs/{slot}")
    assert error.value == hashlib.sha256(b"other bytes").hexdigest()


@pytest.mark.parametrize(
    ("changed", "value", "limit"),
    [
        ({"task": "forecast"}, "forecast", "regression"),
        ({"target": "z"}, "z", "y"),
        ({"features": ["x2", "x1"]}, '["x2", "x1"]', '["x1", "x2"]'),
        ({"classes": ["a"]}, '["a"]', "[]"),
        ({"parent": "c" * 64}, "c" * 64, None),
        ({"parent": None}, "none", None),
    ],
)
def test_forms_of_two_models_are_refused(changed, value, limit, registered, all_forms):
    error = refused(registered, all_forms("int8", manifest=changed))
    assert (error.code, error.field, error.value) == ("forms_differ", "inputs/int8_manifest", value)
    assert limit is None or error.limit == limit
    assert next(iter(changed)) in error.message


def test_another_signature_is_refused(registered, all_forms):
    signature = {"inputs": [tensor("features", 3)], "outputs": [tensor("prediction", 1)]}
    error = refused(registered, all_forms("compiled", manifest={"signature": signature}))
    assert (error.code, error.field) == ("forms_differ", "inputs/compiled_manifest")
    assert "[-1, 3]" in error.value
    assert "[-1, 2]" in error.limit


def test_a_form_that_was_made_from_another_is_not_the_trained_one(registered, put):
    error = refused(registered, put("fp32", "c" * 64)[0])
    assert (error.code, error.value, error.limit) == ("forms_differ", "c" * 64, "none")


@pytest.mark.parametrize(("changed", "field"), [({"variant": "int8"}, "variant"), ({"size_bytes": 1}, "size_bytes")])
def test_figures_of_another_form_are_refused(changed, field, registered, put):
    error = refused(registered, put("fp32", figures=changed)[0])
    assert (error.code, error.field) == ("forms_differ", "inputs/fp32_figures")
    assert field in error.message


def test_a_variant_stands_once(registered, all_forms):
    error = refused(registered, all_forms("compiled", manifest={"variant": "int8"}))
    assert (error.code, error.value) == ("variant_twice", "int8")


@pytest.mark.parametrize(
    ("slot", "code"), [("int8_manifest", "manifest_unreadable"), ("compiled_figures", "figures_unreadable")]
)
def test_what_cannot_be_read_is_named_by_its_slot(slot, code, registered, all_forms):
    inputs = all_forms()
    inputs[slot].write_text("{")
    error = refused(registered, inputs)
    assert (error.code, error.field) == (code, f"inputs/{slot}")
