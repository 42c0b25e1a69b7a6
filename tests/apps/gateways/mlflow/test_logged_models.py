"""logged-models/*: made, filled with params and tags, declared ready, deleted."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import LoggedModel
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.models import Edge

NOBODY = "m-" + "0" * 32
KEYS = {
    "model_id",
    "experiment_id",
    "name",
    "creation_timestamp_ms",
    "last_updated_timestamp_ms",
    "artifact_uri",
    "status",
    "model_type",
    "source_run_id",
}


@pytest.fixture
def made(track, run):
    """made(...) -> the logged model as it is answered."""

    def make(**how):
        return track.post("logged-models", **{"experiment_id": "3", "name": "net", **how})["model"]

    return make


def test_one_with_everything(track, made, run):
    pair = {"key": "lr", "value": "0.1"}
    model = made(model_type="agent", source_run_id=run.pk, params=[pair], tags=[{"key": "team", "value": "a"}])
    info = model["info"]
    assert set(info) == KEYS | {"tags"}
    assert (info["status"], info["model_type"], info["source_run_id"]) == ("LOGGED_MODEL_PENDING", "agent", run.pk)
    assert info["artifact_uri"] == f"mlflow-artifacts:/3/models/{info['model_id']}/artifacts"
    assert model["data"] == {"params": [pair]}
    assert track.get(f"logged-models/{info['model_id']}") == {"model": model}
    assert [(e.source_id, e.target_id) for e in Edge.objects.all()] == [(run.pk, info["model_id"])]
    assert AuditRecord.objects.filter(action="logged_model.create").count() == 1


def test_one_without_a_name_gets_one(made):
    assert made(name="")["info"]["name"]
    assert set(made()["info"]) == KEYS


WRONG_MODELS = [
    ({"experiment_id": None}, 400, "Missing value for required parameter 'experiment_id'"),
    ({"experiment_id": "99"}, 404, "No Experiment with id=99 exists"),
    ({"name": 7}, 400, "Invalid value 7 for parameter 'name' supplied"),
    ({"source_run_id": "0" * 32}, 404, "Run with id="),
    ({"params": "x"}, 400, "Invalid value \"x\" for parameter 'params' supplied"),
    *(({"name": f"a{letter}b"}, 400, "Invalid model name") for letter in "/:.%\"'"),
]


def test_wrong_models_are_refused(track, run):
    wrong = {}
    for body, status, text in WRONG_MODELS:
        answer = track.refused("POST", "logged-models", {"experiment_id": "3", "name": "net", **body})
        if answer[0] != status or not answer[2].startswith(text):
            wrong[repr(body)] = answer
    assert wrong == {}
    assert not LoggedModel.objects.exists()


def test_it_is_declared_ready(track, made):
    key = made()["info"]["model_id"]
    told = track.patch(f"logged-models/{key}", model_id=key, status="LOGGED_MODEL_READY")
    assert told["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    track.patch(f"logged-models/{key}", model_id=key, status="LOGGED_MODEL_READY")  # twice is once
    assert AuditRecord.objects.filter(action="logged_model.ready").count() == 1
    for body in ({"status": "LOGGED_MODEL_READY"}, {"model_id": key}, {"model_id": key, "status": "READY"}):
        assert track.refused("PATCH", f"logged-models/{key}", body)[0] == 400


def test_params_are_written_once(track, made):
    key = made()["info"]["model_id"]
    first = [{"key": "depth", "value": "3"}]
    for _ in range(2):
        assert track.post(f"logged-models/{key}/params", model_id=key, params=first) == {}
    status, _, text = track.refused(
        "POST", f"logged-models/{key}/params", {"model_id": key, "params": [{"key": "depth", "value": "4"}]}
    )
    assert status == 400
    assert "Changing param values is not allowed" in text
    assert track.get(f"logged-models/{key}")["model"]["data"] == {"params": first}


def test_tags_are_set_and_taken_away(track, made):
    key = made(tags=[{"key": "stage", "value": "early"}])["info"]["model_id"]
    track.patch(f"logged-models/{key}/tags", tags=[{"key": "stage", "value": "late"}, {"key": "a/b", "value": ""}])
    assert track.get(f"logged-models/{key}")["model"]["info"]["tags"] == [
        {"key": "stage", "value": "late"},
        {"key": "a/b", "value": ""},
    ]
    assert track.patch(f"logged-models/{key}/tags") == {}
    track.delete(f"logged-models/{key}/tags/a/b")
    status, code, text = track.refused("DELETE", f"logged-models/{key}/tags/a/b")
    assert (status, code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert text == f"No tag with key 'a/b' found for model with ID '{key}'."


def test_what_is_changed_after_its_end_is_on_the_record(track, made):
    key = made()["info"]["model_id"]
    amended = AuditRecord.objects.filter(action="logged_model.amend", object_id=key)

    def change(word):
        track.patch(f"logged-models/{key}/tags", tags=[{"key": "stage", "value": word}])
        track.post(f"logged-models/{key}/params", model_id=key, params=[{"key": word, "value": "1"}])
        track.delete(f"logged-models/{key}/tags/stage")

    change("early")
    assert not amended.exists()
    track.patch(f"logged-models/{key}", model_id=key, status="LOGGED_MODEL_READY")
    change("late")
    assert ["stage" in body for body in amended.order_by("pk").values_list("body", flat=True)] == [True, False, True]


def test_deleted_it_is_not_there(track, made):
    key = made()["info"]["model_id"]
    for _ in range(2):
        assert track.delete(f"logged-models/{key}") == {}
    assert AuditRecord.objects.filter(action="logged_model.delete").count() == 1
    for method, path in (("GET", key), ("PATCH", f"{key}/tags")):
        body = {"tags": [{"key": "a", "value": "b"}]} if method == "PATCH" else None
        assert track.refused(method, f"logged-models/{path}", body)[0] == 404


def test_nobody_else_may(client_of, viewer, stranger, made, track):
    key = made()["info"]["model_id"]
    assert client_of(viewer).get(f"logged-models/{key}")["model"]["info"]["model_id"] == key
    calls = [
        ("PATCH", key, {"model_id": key, "status": "LOGGED_MODEL_READY"}),
        ("DELETE", key, {}),
        ("POST", f"{key}/params", {"model_id": key, "params": []}),
        ("PATCH", f"{key}/tags", {"tags": [{"key": "a", "value": "b"}]}),
        ("DELETE", f"{key}/tags/a", {}),
    ]
    for method, path, body in calls:
        assert client_of(viewer).refused(method, f"logged-models/{path}", body)[0] == 403
        assert client_of(stranger).refused(method, f"logged-models/{path}", body)[0] == 404
    for who in (track, client_of(viewer)):
        assert who.refused("GET", f"logged-models/{NOBODY}")[2] == f"Logged model with ID '{NOBODY}' not found."
