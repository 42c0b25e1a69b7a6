import pytest

from apps.platform.jobs.scheduling import doorbell

pytestmark = pytest.mark.django_db
P = "/api/v1/projects/demo"
M = f"{P}/models/wti-forecast"


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def filled(registered, approved, a_set, gate, measure):
    """Two versions, the first in production, both measured; a gate that the second fails."""
    first = registered()
    approved(first)
    second, on = registered(), a_set(spec={"slices": [{"column": "region"}]})
    gate(first.model, on, margin=0.05)
    evaluations = [
        measure(first, on, 1.0, 0.0, parts=[("region", "north", 1.0), ("region", "south", 1.0)]),
        measure(second, on, 1.2, 0.1, parts=[("region", "north", 1.0), ("region", "south", 1.4)]),
    ]
    return first, second, evaluations


def test_sets_are_made_listed_and_read(api, engineer, dataset_version):
    client = api(engineer)
    body = {"name": "later", "dataset": "later", "version": "1", "task": "forecast", "target": "close"}
    answer = client.post(f"{P}/evaluation-sets", body, format="json")
    assert (answer.status_code, answer["Location"]) == (201, f"{P}/evaluation-sets/later-r1")
    assert client.post(f"{P}/evaluation-sets", body, format="json").json()["error"]["code"] == "evaluation_set_exists"
    again = client.post(f"{P}/evaluation-sets", body | {"supersede": True}, format="json")
    assert again.json()["revision"] == 2
    assert [one["ref"] for one in client.get(f"{P}/evaluation-sets").json()["items"]] == ["later-r2"]
    every = client.get(f"{P}/evaluation-sets?revisions=all").json()["items"]
    assert [(one["ref"], one["current"]) for one in every] == [("later-r2", True), ("later-r1", False)]
    assert client.get(f"{P}/evaluation-sets/later").json()["revision"] == 2
    assert client.get(f"{P}/evaluation-sets/other").status_code == 404


def test_a_field_that_is_none_is_named(api, engineer, dataset_version):
    body = {"name": "later", "dataset": "later", "version": "1", "task": "forecast", "target": "close", "slice": 1}
    error = api(engineer).post(f"{P}/evaluation-sets", body, format="json").json()["error"]
    assert (error["code"], error["field"]) == ("unknown_field", "/slice")


def test_measuring_is_a_job(api, engineer, registered, a_set):
    registered(), a_set()
    client = api(engineer)
    first = client.post(f"{M}/versions/1/evaluations", {"set": "later", "runs": 20}, format="json")
    assert (first.status_code, first.json()["kind"], first.json()["spec"]["runs"]) == (201, "evaluate", 20)
    again = client.post(f"{M}/versions/1/evaluations", {"set": "later"}, format="json")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    wrong = client.post(f"{M}/versions/1/evaluations", {"set": "none"}, format="json")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "evaluation_set_unknown")


def test_what_was_measured_is_read(api, viewer, filled):
    client, (_first, second, evaluations) = api(viewer), filled
    listed = client.get(f"{M}/versions/2/evaluations").json()["items"]
    assert [(one["id"], one["set"], one["variant"]) for one in listed] == [(evaluations[1].pk, "later-r1", "fp32")]
    whole = client.get(f"{P}/evaluations/{evaluations[1].pk}").json()
    assert [part["value"] for part in whole["document"]["slices"]] == ["north", "south"]
    assert client.get(f"{P}/evaluations/{10**17}").status_code == 404
    lines = client.get(f"{M}/baselines?set=later").json()
    assert (lines["metric"], lines["lines"][0]["variant"]) == ("rmse", "fp32")
    assert [(p["version"], p["metric"]["value"]) for p in lines["lines"][0]["points"]] == [(1, 1.0), (2, 1.2)]
    assert second.number == 2


def test_what_gates_say_now_and_said_then(api, engineer, filled):
    client = api(engineer)
    told = client.get(f"{M}/versions/2/gates").json()
    gate = told["gates"][0]
    assert (told["lets_through"], gate["verdict"], gate["against"]) == (False, "fail", 1)
    assert gate["hint"].startswith("Train a better version")
    assert (gate["worst_slice"]["value"], gate["worst_slice"]["worse"]) == ("south", True)
    assert told["history"] == []
    answer = client.post(f"{M}/versions/2/promote", {}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "gate_failed")
    history = client.get(f"{M}/versions/2/gates").json()["history"]
    assert [(one["verdict"], one["set"]) for one in history] == [("fail", "later-r1")]


def test_gates_are_set_and_lifted_by_an_approver(api, engineer, approver, registered, a_set):
    registered(), a_set()
    body = {"set": "later", "margin": 0.1, "baseline": 1}
    refused = api(engineer).post(f"{M}/gates", body, format="json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "refused")
    client = api(approver)
    made = client.post(f"{M}/gates", body, format="json")
    assert (made.status_code, made.json()["baseline"]) == (201, 1)
    assert [one["id"] for one in client.get(f"{M}/gates").json()] == [made.json()["id"]]
    assert client.delete(made["Location"], {}, format="json").status_code in (400, 422)
    assert client.delete(made["Location"], {"reason": "old"}, format="json").status_code == 204
    assert client.get(f"{M}/gates").json() == []
    assert client.delete(made["Location"], {"reason": "old"}, format="json").status_code == 404


def test_a_stranger_finds_nothing(api, stranger, filled):
    client, evaluation = api(stranger), filled[2][0]
    for path in (f"{P}/evaluation-sets", f"{P}/evaluations/{evaluation.pk}", f"{M}/gates", f"{M}/versions/2/gates"):
        assert client.get(path).status_code == 404
    assert client.get(f"{M}/versions/1/card.md").status_code == 404


@pytest.mark.parametrize("scopes", [["read"], ["read", "jobs:write"]])
def test_a_token_takes_the_scope_of_models_for_sets_and_gates(scopes, api, make_token, engineer, registered, a_set):
    registered(), a_set()
    client = api(make_token(engineer, scopes=scopes)[0])
    body = {"name": "x", "dataset": "later", "version": "1", "task": "forecast", "target": "close"}
    assert client.post(f"{P}/evaluation-sets", body, format="json").json()["error"]["code"] == "scope_missing"
    answer = client.post(f"{M}/versions/1/evaluations", {"set": "later"}, format="json")
    assert answer.status_code == (201 if "jobs:write" in scopes else 403)
