"""What lies beside /predict, and what does not."""

import pytest

from deepseek.models.manifest import ModelManifest
from deepseek.models.predictor_base import Predictor


def test_health(client):
    answer = client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_the_manifest(client, tmp_path):
    answer = client(task="classification").get("/model")
    assert ModelManifest.model_validate_json(answer.content) == ModelManifest.read(tmp_path / "model/model.json")


def test_the_description(client):
    document = client(task="classification").get("/openapi.json").json()
    own = {path for path in document["paths"] if not path.startswith("/v2")}
    assert own == {"/predict", "/healthz", "/model", "/models", "/models/{name}", "/metrics"}
    schema = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["features"]["oneOf"][0]["maxItems"] == 5


@pytest.mark.parametrize("path", ["/", "/nope", "/predict/", "/docs", "/redoc", "/predict%00", "/" + "x" * 5000])
def test_an_unknown_path(client, refused, path):
    first = refused(client().get(path), 404, "not_found")
    assert "POST /predict" in first["hint"]
    assert len(first["message"]) < 200


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/predict", "POST"), ("POST", "/model", "GET")])
def test_another_method(client, refused, method, path, allowed):
    answer = client().request(method, path)
    assert refused(answer, 405, "method_not_allowed")["limit"] == allowed
    assert answer.headers["allow"] == allowed


def test_a_defect_shows_no_trace(client, refused, monkeypatch):
    asked = client(raising=False)
    monkeypatch.setattr(Predictor, "predict", lambda *_: 1 / 0)
    answer = asked.post("/predict", json={"features": [1, 2, 3, 4, 5]})
    refused(answer, 500, "server_error")
    assert "ZeroDivision" not in answer.text
