"""Clients of MLflow's protocol: `track` of an engineer's token with all scopes, `client_of` for others."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from django.test import Client

from apps.ml.experiments.models import Experiment, Run

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"


MLMODEL = b"""artifact_path: m
flavors:
  python_function:
    loader_module: mlflow.pyfunc.model
    python_version: 3.11.9
  sklearn:
    sklearn_version: 1.5.0
mlflow_version: 3.17.2
"""
MODEL_FILES = {"MLmodel": MLMODEL, "data/weights.bin": b"weights"}


@pytest.fixture(autouse=True)
def _own_store(settings, tmp_path):
    """Tests that spoil bytes must not spoil those of others."""
    settings.PLANE_HOME = tmp_path


class Tracker:
    """Sends calls with a token, by Django's urls, and reads the answers."""

    def __init__(self, secret: str, **headers: str) -> None:
        self.headers = {"HTTP_AUTHORIZATION": f"Bearer {secret}"} | headers
        self.client = Client()

    def send(self, method: str, path: str, body=None, *, raw=None, content_type="application/json"):
        """The response. `body` is the query of a GET and the JSON of others; `raw` takes its place, unread."""
        url = path if path.startswith("/") else API + path
        if method == "GET":
            query = urlencode(body or {}, doseq=True)
            return self.client.get(f"{url}?{query}" if query else url, **self.headers)
        data = raw if raw is not None else json.dumps(body or {})
        return self.client.generic(method, url, data, content_type=content_type, **self.headers)

    def put(self, path: str, body: bytes, **how):
        """The response to bytes sent to a path below the artifacts."""
        return self.send("PUT", FILES + path, raw=body, content_type=how.pop("content_type", "text/plain"))

    def patch(self, path: str, /, **body):
        return read_answer(self.send("PATCH", path, body))

    def delete(self, path: str, /, **body):
        return read_answer(self.send("DELETE", path, body))

    def get(self, path: str, /, **query):
        return read_answer(self.send("GET", path, query))

    def post(self, path: str, /, **body):
        return read_answer(self.send("POST", path, body))

    def refused(self, method: str, path: str, body=None, **how) -> tuple[int, str, str]:
        """(status, error code, message) of a call that must fail."""
        response = self.send(method, path, body, **how)
        assert response.status_code >= 400, response.content
        answer = response.json()
        assert set(answer) == {"error_code", "message", "sqlstate", "error_class"}
        return response.status_code, answer["error_code"], answer["message"]

    def wrong_refusals(self, method: str, path: str, cases, **expected) -> dict[str, tuple]:
        """Of (body, text) cases those that are not refused with this text, or one that begins so, and their answers."""
        expected = {"status": 400, "code": "INVALID_PARAMETER_VALUE", "exact": False} | expected
        wrong = {}
        for body, text in cases:
            response = self.send(method, path, body)
            answer = response.json()
            message = answer.get("message", "")
            if (
                (response.status_code, answer.get("error_code")) != (expected["status"], expected["code"])
                or not (message == text if expected["exact"] else message.startswith(text))
                or set(answer) != {"error_code", "message", "sqlstate", "error_class"}
            ):
                wrong[repr(body)[:200]] = (response.status_code, answer)
        return wrong


def read_answer(response):
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture
def client_of(make_token):
    """client_of(user, scopes=None) -> Tracker"""
    return lambda user, **how: Tracker(make_token(user, **how)[0])


@pytest.fixture
def track(client_of, engineer) -> Tracker:
    return client_of(engineer)


@pytest.fixture
def experiment_id(track) -> str:
    return track.post("experiments/create", name="iris")["experiment_id"]


@pytest.fixture
def run(project):
    """A run that a client keeps, in experiment 3."""
    experiment = Experiment.objects.create(project=project, number=3, name="fruit", created_by="engineer")
    return Run.objects.create(project=project, experiment=experiment, name="ripe", created_by="engineer")


@pytest.fixture
def place(run):
    """Where the files of the run lie."""
    return f"3/{run.pk}/artifacts"


@pytest.fixture
def logged(track, run, project):
    """logged({path: bytes}, name=...) -> the id of a logged model with these files, ready."""

    def make(files=MODEL_FILES, name="net"):
        made = track.post("logged-models", experiment_id="3", name=name, source_run_id=run.pk)["model"]["info"]
        for path, data in files.items():
            assert track.put(f"3/models/{made['model_id']}/artifacts/{path}", data).status_code == 200
        track.patch(f"logged-models/{made['model_id']}", model_id=made["model_id"], status="LOGGED_MODEL_READY")
        return made["model_id"]

    return make


@pytest.fixture
def version_of(track):
    """version_of(logged model, name=...) -> the version that a client makes of it, as it is answered."""

    def make(model_id, name="fruit"):
        track.send("POST", "registered-models/create", {"name": name})
        body = {"name": name, "source": f"models:/{model_id}", "model_id": model_id}
        return track.post("model-versions/create", **body)["model_version"]

    return make


@pytest.fixture
def run_id(track, experiment_id) -> str:
    """A run that goes on, called "first"."""
    body = {"experiment_id": experiment_id, "run_name": "first", "start_time": 1000, "user_id": "ann"}
    return track.post("runs/create", **body)["run"]["info"]["run_id"]


@pytest.fixture
def data_of(track):
    """data_of(run) -> {"metrics": {key: value}, "params": {...}, "tags": {...}} as a client reads them."""

    def read(run: str) -> dict[str, dict]:
        data = track.get("runs/get", run_id=run)["run"]["data"]
        names = ("metrics", "params", "tags")
        return {name: {pair["key"]: pair["value"] for pair in data.get(name, ())} for name in names}

    return read
