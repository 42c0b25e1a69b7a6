"""A whole model answers prompts over HTTP; an adapter has to be merged before."""

import pytest
from fastapi.testclient import TestClient

from deepseek.job import EngineError
from deepseek.models.manifest import ModelManifest
from deepseek.models.predictor import open_model
from tests.deepseek.serve.conftest import open_service


def test_it_answers_prompts_and_refuses_others(bases, fine_tune, tmp_path):
    fine_tune(bases[3], "out", method="full", epochs=4)
    client = TestClient(open_service(tmp_path / "out", max_rows=1))
    question = "what colour is the sky ?"
    text = client.post("/predict", json={"features": question})
    messages = client.post("/predict", json={"features": [{"role": "user", "content": question}]})
    assert text.status_code == 200
    assert text.json() == messages.json()
    assert text.json()["prediction"].startswith("it is")
    bodies = [{"features": 1}, {"features": []}, {"features": [{"role": "user"}]}, {}, {"features": "x " * 100}]
    bodies.append({"features": [{"role": "system", "content": "x"}]})
    answers = [client.post("/predict", json=body) for body in bodies]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(422, "prompt_invalid")}
    assert client.post("/predict", content=b"{").status_code == 400


def test_an_adapter_is_no_model_to_serve_or_to_measure(bases, fine_tune, tmp_path):
    fine_tune(bases[3], "out", epochs=1)
    with pytest.raises(EngineError) as failure:
        open_service(tmp_path / "out", max_rows=1)
    assert failure.value.code == "adapter_alone"
    with pytest.raises(EngineError) as failure:
        open_model(ModelManifest.read(tmp_path / "out/model.json"), tmp_path / "out/model.safetensors")
    assert failure.value.code == "family_unsupported"
