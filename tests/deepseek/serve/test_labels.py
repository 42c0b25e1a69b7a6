"""Labels of recorded predictions: on the disk before they are answered, and bounded."""

import json

import pytest
from starlette.testclient import TestClient

from deepseek.serve import labels as module
from deepseek.serve.labels import LabelFolder, add_labels
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import open_service


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "labels"


@pytest.fixture
def client(tmp_path, folder):
    make_model(tmp_path / "model", task="regression")
    service = open_service(tmp_path / "model")
    add_labels(service, LabelFolder(folder))
    return TestClient(service)


def read_labels(folder):
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def test_labels_become_files(client, folder):
    rows = [{"id": "a-0", "label": 57.9}, {"id": "a-1", "label": "yes", "at": "2026-11-30T10:15:00+01:00"}]
    answer = client.post("/labels", json={"rows": rows})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    first, second = read_labels(folder)
    assert (first["id"], first["label"], first["at"][:2]) == ("a-0", 57.9, "20")
    assert second == {"id": "a-1", "at": "2026-11-30T10:15:00+01:00", "label": "yes"}


def test_what_is_refused(client, folder, refused):
    """Each body, and the field that its answer names."""
    row = {"id": "a", "label": 1}
    cells = {
        "{}": "/rows",
        '{"rows": []}': "/rows",
        json.dumps({"rows": [{"label": 1}]}): "/rows/0/id",
        json.dumps({"rows": [row, {**row, "id": 7}]}): "/rows/1/id",
        json.dumps({"rows": [{**row, "at": "2026-11-30T10:15:00"}]}): "/rows/0/at",
        json.dumps({"rows": [{**row, "label": "x" * 20_000}]}): "/rows/0/label",
        json.dumps({"rows": [{**row, "source": "other"}]}): "/rows/0/source",
        json.dumps({"rows": [row] * 1001}): "/rows",
    }
    assert {
        body: refused(client.post("/labels", content=body), 422, "label_invalid")["field"] for body in cells
    } == cells
    refused(client.post("/labels", content="{"), 400, "malformed_json")
    refused(client.post("/labels", content=b"x" * (module.MAX_BODY_BYTES + 1)), 413, "too_large")
    assert client.get("/labels").status_code == 405
    assert not list(folder.iterdir())


def test_too_many_wait(client, refused, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING_FILES", 1)
    assert client.post("/labels", json={"rows": [{"id": "a", "label": 1}]}).status_code == 202
    answer = client.post("/labels", json={"rows": [{"id": "b", "label": 1}]})
    refused(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "60"


def test_a_disk_that_is_full(client, folder, refused, monkeypatch):
    monkeypatch.setattr(module.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "no room")))
    refused(client.post("/labels", json={"rows": [{"id": "a", "label": 1}]}), 500, "server_error")
    assert not list(folder.glob("*.jsonl"))
