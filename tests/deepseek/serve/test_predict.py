"""POST /predict with what it takes: the answers of the source text's service, to the last digit."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from deepseek.models.predictor import load_predictor
from deepseek.serve import loaded_model
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import open_service

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


class Counted(ThreadPoolExecutor):
    """Threads, and how often one was asked."""

    calls = 0

    def submit(self, *words, **options):
        self.calls += 1
        return super().submit(*words, **options)


def test_a_large_request_goes_to_a_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(loaded_model, "INLINE_SECONDS", 10)  # a busy machine is no slow model
    make_model(tmp_path)
    threads = Counted(1)
    asked = TestClient(open_service(tmp_path, executor=threads, max_rows=4000))
    assert asked.post("/predict", json={"features": ROW}).status_code == 200
    assert threads.calls == 0
    rows = np.random.default_rng(0).normal(size=(4000, 5)).round(3).tolist()
    assert len(asked.post("/predict", json={"features": rows}).json()["prediction"]) == 4000
    assert threads.calls == 1


def test_a_slow_model_goes_to_a_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(loaded_model, "INLINE_SECONDS", 0)
    make_model(tmp_path)
    threads = Counted(1)
    asked = TestClient(open_service(tmp_path, executor=threads))
    assert asked.post("/predict", json={"features": ROW}).status_code == 200
    assert threads.calls == 1
