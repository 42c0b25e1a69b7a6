"""Note, tags, deleted and back, by REST and with a token of the scope runs:write."""

from __future__ import annotations

import pytest

from apps.jobs.models import Job

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
    assert client.get(url(f"/{run.pk}/note")).json() == {"text": ""}
    answer = client.put(url(f"/{run.pk}/note"), {"text": "# Why"}, format="json")
    assert (answer.status_code, answer.json()) == (200, {"text": "# Why"})


def test_tags_are_set_listed_and_deleted(client, url, run):
    where = url(f"/{run.pk}/tags")
    assert client.post(where, {"key": "a/b", "value": "1"}, format="json").json() == [{"key": "a/b", "value": "1"}]
    assert client.delete(f"{where}?key=a/b").status_code == 204
    assert client.get(where).json() == []
    assert client.delete(f"{where}?key=a/b").status_code == 404


@pytest.mark.parametrize(
    ("verb", "tail", "body", "field"),
    [
        ("put", "note", {}, "/text"),
        ("put", "note", {"text": "x" * 8001}, "text"),
        ("put", "note", {"text": "x", "html": "y"}, "/html"),
        ("post", "tags", {"value": "x"}, "/key"),
        ("post", "tags", {"key": "mlflow.runName", "value": "x"}, "key"),
    ],
)
def test_what_is_wrong_is_named(client, url, run, verb, tail, body, field):
    answer = getattr(client, verb)(url(f"/{run.pk}/{tail}"), body, format="json")
    assert (answer.status_code, answer.json()["error"]["field"].lstrip("/")) == (422, field.lstrip("/"))


def test_a_run_is_deleted_and_restored(client, url, ended):
    assert client.post(url(f"/{ended.pk}/delete")).status_code == 204
    assert client.post(url(f"/{ended.pk}/delete")).status_code == 409
    assert client.put(url(f"/{ended.pk}/note"), {"text": "x"}, format="json").status_code == 409
    assert client.get(url(f"/{ended.pk}")).status_code == 200
    assert client.post(url(f"/{ended.pk}/restore")).status_code == 204
    assert client.post(url(f"/{ended.pk}/restore")).status_code == 409


@pytest.mark.parametrize(
    ("verb", "tail", "body"),
    [("put", "note", {"text": "x"}), ("post", "tags", {"key": "x"}), ("post", "delete", {}), ("post", "restore", {})],
)
def test_it_takes_the_scope(api, make_token, engineer, url, run, verb, tail, body):
    client = api(make_token(engineer, scopes=["read", "jobs:write"])[0])
    answer = getattr(client, verb)(url(f"/{run.pk}/{tail}"), body, format="json")
    assert (answer.status_code, answer.json()["error"]["limit"]) == (403, "runs:write")
