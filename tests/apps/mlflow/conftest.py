"""Clients of MLflow's protocol: `track` of an engineer's token with all scopes, `client_of` for others."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from django.test import Client

API = "/api/2.0/mlflow/"


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

    def get(self, path: str, **query):
        return said(self.send("GET", path, query))

    def post(self, path: str, **body):
        return said(self.send("POST", path, body))

    def refused(self, method: str, path: str, body=None, **how) -> tuple[int, str, str]:
        """(status, error code, message) of a call that must fail."""
        response = self.send(method, path, body, **how)
        assert response.status_code >= 400, response.content
        answer = response.json()
        assert set(answer) == {"error_code", "message", "sqlstate", "error_class"}
        return response.status_code, answer["error_code"], answer["message"]


def said(response):
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
