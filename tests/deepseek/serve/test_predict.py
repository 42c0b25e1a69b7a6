"""POST /predict with what it takes: the answers of the source text's service, to the last digit."""

import json

import numpy as np
import pytest
import torch

from deepseek.models.predictor import load_predictor
from deepseek.serve import app as service

ROW = [0.5, -1, 2.25, 3, 4e-3]


@pytest.mark.parametrize("task", ["regression", "classification", "forecast"])
def test_rows_get_the_rows_that_the_text_s_service_gives(client, tmp_path, task):
    rows = [ROW, [1, 2, 3, 4, 5]]
    answer = client(task=task).post("/predict", json={"features": rows})
    with torch.no_grad():
        output = load_predictor(tmp_path / "model").module(torch.tensor(rows))
    assert answer.status_code == 200
    assert answer.json() == {"prediction": output.tolist()}


def test_one_row_gets_one_row(client):
    asked = client(task="classification")
    one = asked.post("/predict", json={"features": ROW}).json()["prediction"]
    assert one == pytest.approx(asked.post("/predict", json={"features": [ROW]}).json()["prediction"][0], abs=1e-7)
    assert len(one) == 2
    assert sum(one) == pytest.approx(1)


def test_one_feature(client):
    asked = client(task="regression", inputs=1)
    assert len(asked.post("/predict", json={"features": [1]}).json()["prediction"]) == 1
    assert len(asked.post("/predict", json={"features": [[1], [2], [3]]}).json()["prediction"]) == 3


def test_as_many_rows_as_are_allowed(client):
    asked = client(max_rows=3)
    answer = asked.post("/predict", json={"features": [ROW] * 3})
    assert len(answer.json()["prediction"]) == 3


def test_the_longest_rows_fit(client):
    longest = [-2.2250738585072014e-308] * 5  # 24 characters each
    body = json.dumps({"features": [longest] * 8}, indent=1)
    assert client(task="regression").post("/predict", content=body).status_code == 200


def test_a_large_request_goes_to_a_thread(client, monkeypatch):
    there = []
    run_sync = service.to_thread.run_sync
    monkeypatch.setattr(service.to_thread, "run_sync", lambda *a, **k: there.append(1) or run_sync(*a, **k))
    monkeypatch.setattr(service, "INLINE_SECONDS", 10)  # a busy machine is no slow model
    asked = client(max_rows=4000)
    assert asked.post("/predict", json={"features": ROW}).status_code == 200
    assert not there
    rows = np.random.default_rng(0).normal(size=(4000, 5)).round(3).tolist()
    assert len(asked.post("/predict", json={"features": rows}).json()["prediction"]) == 4000
    assert there


def test_a_slow_model_goes_to_a_thread(client, monkeypatch):
    there = []
    run_sync = service.to_thread.run_sync
    monkeypatch.setattr(service.to_thread, "run_sync", lambda *a, **k: there.append(1) or run_sync(*a, **k))
    monkeypatch.setattr(service, "INLINE_SECONDS", 0)
    assert client().post("/predict", json={"features": ROW}).status_code == 200
    assert there
