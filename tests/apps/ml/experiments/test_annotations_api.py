"""Note, tags, deleted and back, by REST and with a token of the scope runs:write."""

from __future__ import annotations

import pytest

from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(api, make_token, engineer):
    return api(make_token(engineer, scopes=["read", "runs:write"])[0])


@pytest.fixture
def ended(run, finish):
    finish(run)
    Job.objects.filter(pk=run.job_id).update(state="succeeded")
    return run


def test_a_note_is_put_and_read(client, url, run):
    assert client.get(url(f"/{run.pk}/note")).json()["text"] == ""
    answer = client.put(url(f"/{run.pk}/note"), {"text": "# Why"}, format="json")
    assert (answer.status_code, answer.json()["text"]) == (200, "# Why")


def test_tags_are_set_listed_and_deleted(client, url, run):
    where = url(f"/{run.pk}/tags")
    assert client.post(where, {"key": "a/b", "value": "1"}, format="json").json() == [{"key": "a/b", "value": "1"}]
    assert client.delete(f"{where}?key=a/b").status_code == 204
    assert client.get(where).json() == []
    assert client.delete(f"{where}?key=a/b").status_code == 404


def test_an_invalid_body_names_its_field(client, url, run):
    for tail, body, field in (
        ("note", {}, "text"),
        ("note", {"text": "x" * 8001}, "text"),
        ("note", {"text": "x", "html": "y"}, "html"),
        ("tags", {"value": "x"}, "key"),
        ("tags", {"key": "mlflow.runName", "value": "x"}, "key"),
    ):
        call = client.put if tail == "note" else client.post
        answer = call(url(f"/{run.pk}/{tail}"), body, format="json")
        assert (answer.status_code, answer.json()["error"]["field"].lstrip("/")) == (422, field), body


def test_a_run_is_deleted_and_restored(client, url, ended):
    assert client.post(url(f"/{ended.pk}/delete")).status_code == 204
    assert client.post(url(f"/{ended.pk}/delete")).status_code == 409
    assert client.put(url(f"/{ended.pk}/note"), {"text": "x"}, format="json").status_code == 409
    assert client.get(url(f"/{ended.pk}")).status_code == 200
    assert client.post(url(f"/{ended.pk}/restore")).status_code == 204
    assert client.post(url(f"/{ended.pk}/restore")).status_code == 409


def test_writes_require_the_scope_runs_write(api, make_token, engineer, url, run):
    client = api(make_token(engineer, scopes=["read", "jobs:write"])[0])
    calls = {"note": (client.put, {"text": "x"}), "tags": (client.post, {"key": "x"})}
    calls |= {"delete": (client.post, {}), "restore": (client.post, {})}
    for tail, (call, body) in calls.items():
        answer = call(url(f"/{run.pk}/{tail}"), body, format="json")
        assert (answer.status_code, answer.json()["error"]["limit"]) == (403, "runs:write"), tail
