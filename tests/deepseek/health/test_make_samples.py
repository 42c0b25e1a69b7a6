"""Samples are what a form answers to held-out rows, with a tolerance by what the form itself lost."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from starlette.testclient import TestClient

from deepseek.agent.updating.health import Samples, measure_difference
from deepseek.health.run import Answers, run
from deepseek.health.spec import HealthSamplesSpec
from deepseek.job import EngineError
from deepseek.models.manifest import ModelFile, ModelManifest, compute_file_sha256
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import open_service

AARCH64 = bytes.fromhex("7f454c46020101000000000000000000 0300b700".replace(" ", "")) + bytes(60)


@pytest.fixture
def inputs(tmp_path):
    """inputs(noise, **model) -> the slots of a form whose weights differ from the trained model's by `noise`."""

    def make(noise=0.0, **words):
        make_model(tmp_path / "trained", **words)
        shutil.copytree(tmp_path / "trained", tmp_path / "form")
        path = tmp_path / "form" / "model.safetensors"
        if noise:
            with safetensors.safe_open(path, "numpy") as file:
                metadata = file.metadata()
            tensors = safetensors.numpy.load_file(path)
            name = next(name for name in sorted(tensors) if name.endswith("weight"))
            tensors[name] = tensors[name] * np.float32(1 + noise)
            path.write_bytes(safetensors.numpy.save(tensors, metadata))
            rewrite_manifest(tmp_path / "form", path)
        return list_slots(tmp_path)

    return make


def list_slots(folder):
    slots = {"model": "form/model.safetensors", "manifest": "form/model.json", "trained": "trained/model.safetensors"}
    slots |= {"trained_manifest": "trained/model.json", "heldout": "trained/heldout.safetensors"}
    return {slot: folder / path for slot, path in slots.items()}


def rewrite_manifest(folder, path, **changes):
    manifest = ModelManifest.read(folder / "model.json")
    file = ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size)
    (folder / "model.json").write_text(manifest.model_copy(update={"file": file, **changes}).to_json())


def make_samples(inputs, tmp_path, report, rows=16):
    result = run(HealthSamplesSpec(rows=rows), inputs=inputs, out=tmp_path / "out", report=report)
    text = (tmp_path / "out" / "samples.json").read_text()
    (tmp_path / "samples.json").write_text(text)
    shutil.rmtree(tmp_path / "out")
    return json.loads(text), result


def test_an_agent_reads_them_and_a_server_answers_them(inputs, tmp_path, report):
    document, result = make_samples(inputs(task="classification"), tmp_path, report)
    samples = Samples.read(tmp_path / "samples.json")
    assert (len(samples.rows), document["answered_by"], samples.tolerance) == (16, "variant", 1e-4)
    assert result.summary["rows"] == 16
    answer = TestClient(open_service(tmp_path / "form", max_rows=16)).post("/predict", json={"features": samples.rows})
    assert measure_difference(answer.json()["prediction"], samples.predictions) <= 1e-6
    assert make_samples(list_slots(tmp_path), tmp_path, report)[0] == document


def test_the_tolerance_grows_with_what_the_form_lost(inputs, tmp_path, report):
    document, _ = make_samples(inputs(noise=0.05), tmp_path, report)
    assert 1e-3 < document["tolerance"] < 0.5
    wrong = [[value * 3 + 1 for value in row] for row in document["predictions"]]
    assert measure_difference(wrong, document["predictions"]) > document["tolerance"]


def test_a_form_for_another_processor_is_answered_for_by_the_trained_model(inputs, tmp_path, report):
    slots = inputs()
    path = slots["model"].with_name("model.so")
    path.write_bytes(AARCH64)
    rewrite_manifest(path.parent, path, format="tvm", machine={"arch": "aarch64", "needs": []})
    document, _ = make_samples({**slots, "model": path}, tmp_path, report)
    assert (document["answered_by"], document["tolerance"]) == ("trained", 1e-4)
    assert report.lines[0][0] == "warning"


def test_texts_remain_where_both_models_answer_alike(inputs, tmp_path, report, monkeypatch):
    span = {"start": 0, "end": 1, "label": "X", "text": "a"}
    answers = iter([Answers(["a", "b"], [[span], []]), Answers(["a", "b"], [[span], [span]])])
    slots = inputs(task="classification")
    entities = ModelManifest.read(slots["manifest"]).model_copy(update={"task": "entities"})
    monkeypatch.setattr("deepseek.health.run.ModelManifest.read", lambda *_: entities)
    monkeypatch.setattr("deepseek.health.run.read_rows", lambda *_: ["a", "b"])
    monkeypatch.setattr("deepseek.health.run.answer_rows", lambda *_: next(answers))
    document, _ = make_samples(slots, tmp_path, report)
    assert (document["rows"], document["predictions"]) == (["a"], [[span]])


def test_a_form_that_answers_otherwise_gets_none(inputs, tmp_path, report, monkeypatch):
    answers = iter([Answers([[1.0]], [[1.0]]), Answers([[1.0]], [[1.0, 2.0]])])
    slots = inputs()
    monkeypatch.setattr("deepseek.health.run.answer_rows", lambda *_: next(answers))
    with pytest.raises(EngineError) as refused:
        run(HealthSamplesSpec(), inputs=slots, out=tmp_path / "out", report=report)
    assert refused.value.code == "samples_differ"
    assert not (tmp_path / "out").exists()
