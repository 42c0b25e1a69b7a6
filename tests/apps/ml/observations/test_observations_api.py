"""Observations over REST."""

import json
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from apps.ml.observations.models import ObservationSource, Prediction
from apps.ml.observations.services import datasets, predictions
from apps.ml.observations.services.sealing import seal_period
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell

pytestmark = pytest.mark.django_db
NEW = {"name": "fresh", "task": "regression", "sampling_rate": 0.5, "retention_days": 30}


@pytest.fixture
def row(hour):
    return lambda key, **fields: {"id": key, "at": hour.isoformat(), "model": "wti", "version": 1, **fields}


def test_a_source_is_created_read_and_changed(api, engineer, viewer, project, url):
    answer = api(engineer).post(url("/sources"), NEW)
    assert (answer.status_code, answer.json()["name"], answer["Location"]) == (201, "fresh", url("/sources/fresh"))
    assert api(engineer).post(url("/sources"), NEW).json()["error"]["code"] == "source_exists"
    answer = api(engineer).patch(url("/sources/fresh"), {"retention_days": None})
    assert (answer.json()["retention_days"], answer.json()["sampling_rate"]) == (None, 0.5)
    record = json.loads(AuditRecord.objects.get(action="observation.update_source").body)
    assert (record["before"], record["after"]) == ({"retention_days": 30}, {"retention_days": None})
    assert [each["name"] for each in api(viewer).get(url("/sources?kind=endpoint")).json()["items"]] == ["fresh"]
    for path, method in (("/sources", "post"), ("/sources/fresh", "patch")):
        assert getattr(api(viewer), method)(url(path), NEW).status_code == 403
    bad = {"sampling_rate": [0, 1.5, None], "retention_days": [0, 4000], "name": ["A b"], "task": ["guess"]}
    for field, values in bad.items():
        for value in values:
            error = api(engineer).post(url("/sources"), {**NEW, "name": "x", field: value}).json()["error"]
            assert error["field"] == f"/{field}", (field, value)
    assert api(engineer).patch(url("/sources/fresh"), {"sampling_rate": None}).status_code == 422


def test_batches_are_taken_with_a_token_for_them_alone(api, make_token, engineer, source, url, row, hour):
    secret = make_token(engineer, scopes=["observations:write"])[0]
    batch = {"source": "live", "rows": [row("a", answer="up"), row("b", answer="up", features=[1, 2.5])]}
    answer = api(secret).post(url("/predictions"), batch)
    assert (answer.status_code, answer.json()) == (
        200,
        {"received": 2, "stored": 2, "duplicates": 0, "sampled_out": 0, "waiting": 0},
    )
    labels = {"source": "live", "rows": [{"id": "a", "at": hour.isoformat(), "label": "up"}]}
    assert api(secret).post(url("/labels"), labels).json()["stored"] == 1
    assert api(secret).post(url("/labels"), labels).json()["duplicates"] == 1
    for path in ("/sources", "/sources/live"):
        error = api(secret).get(url(path)).json()["error"]
        assert (error["code"], error["limit"]) == ("scope_missing", "read")
    reader = make_token(engineer, scopes=["read"])[0]
    assert api(reader).post(url("/predictions"), batch).json()["error"]["limit"] == "observations:write"


def test_each_bad_row_is_named_and_none_is_taken(api, engineer, source, url, row):
    rows = [
        row("a", answer="up"),
        row("", answer="up"),
        {**row("c", answer="up"), "at": "2026-01-01T00:00:00"},
        row("d"),
        row("e", answer="up", features=1, features_digest="0" * 64),
        row("f", answer="up", latency_ms=-1),
        row("g", answer="up", features="x" * 70_000),
        {**row("h", answer="up"), "at": "0001-01-01T00:00:00+10:00"},
    ]
    errors = api(engineer).post(url("/predictions"), {"source": "live", "rows": rows}).json()["error"]["errors"]
    assert [error["field"] for error in errors] == [
        "/rows/1/id",
        "/rows/2/at",
        "/rows/3/answer",
        "/rows/4/features_digest",
        "/rows/5/latency_ms",
        "/rows/6/features",
        "/rows/7/at",
    ]
    assert not Prediction.objects.exists()
    many = {"source": "live", "rows": [{"id": str(n), "at": "x", "label": 1} for n in range(5001)]}
    error = api(engineer).post(url("/labels"), many).json()["error"]
    assert (error["field"], error["limit"]) == ("/rows", 5000)
    error = (
        api(engineer)
        .post(url("/labels"), {"source": "none", "rows": [{"id": "a", "at": timezone.now().isoformat(), "label": 1}]})
        .json()["error"]
    )
    assert (error["code"], error["field"]) == ("source_unknown", "/source")


def test_a_conflict_is_409_with_its_rows(api, engineer, source, url, row):
    send = api(engineer)
    send.post(url("/predictions"), {"source": "live", "rows": [row("a", answer="up")]})
    answer = send.post(url("/predictions"), {"source": "live", "rows": [row("a", answer="down")]})
    assert (answer.status_code, answer.json()["error"]["field"]) == (409, "/rows/0/id")


def test_a_database_that_is_too_busy_says_when_to_come_again(api, engineer, source, url, row, monkeypatch):
    """As in a flood: nothing is taken, and the same batch counts once when it comes again."""

    def refuse(_source):
        raise OperationalError("database is locked")

    batch = {"source": "live", "rows": [row("a", answer="up")]}
    with monkeypatch.context() as patch:
        patch.setattr(predictions, "lock_source", refuse)
        answer = api(engineer).post(url("/predictions"), batch)
    assert (answer.status_code, int(answer["Retry-After"]) > 0) == (503, True)
    assert not Prediction.objects.exists()
    assert api(engineer).post(url("/predictions"), batch).json()["stored"] == 1


def test_figures(api, engineer, viewer, predict, label, url, hour):
    predict("a", "b")
    label("a")
    since = (hour - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = api(viewer).get(url(f"/figures?source=live&by=version&since={since}")).json()
    assert (body["total"]["predictions"], body["groups"][0]["version"]) == (2, 1)
    assert body["total"]["accuracy"]["value"] == 1.0
    assert body["classes"] == [{"name": "up", "predicted": 2, "labelled": 1, "correct": 1}]
    for query, field in (
        ("since=soon", "since"),
        ("until=0001-01-01", "until"),
        ("version=x", "version"),
        ("by=x", "by"),
    ):
        assert api(viewer).get(url(f"/figures?{query}")).json()["error"]["field"] == field


def test_a_dataset_version_is_a_job(api, engineer, viewer, stranger, predict, url, hour, monkeypatch, source):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    predict("a")
    until = (hour + timedelta(hours=1)).isoformat()
    body = {"source": "live", "dataset": "seen", "since": hour.isoformat(), "until": until}
    answer = api(engineer).post(url("/datasets"), body)
    job = Job.objects.get(pk=answer.json()["id"])
    assert (answer.status_code, job.kind, job.register) == (202, "observations", {"dataset": "seen"})
    assert [each.slot.split("-")[0] for each in job.inputs.all()] == ["predictions"]
    error = api(engineer).post(url("/datasets"), {**body, "labelled_only": True}).json()["error"]
    assert error["code"] == "no_observations"
    assert api(engineer).post(url("/datasets"), {**body, "until": body["since"]}).status_code == 422
    assert api(viewer).post(url("/datasets"), body).status_code == 403
    assert api(stranger).post(url("/datasets"), body).status_code == 404
    assert ObservationSource.objects.count() == 1


def test_the_same_key_finds_the_first_job_though_rows_have_come_since(
    api, engineer, predict, url, hour, monkeypatch, source
):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    body = {"source": "live", "dataset": "seen", "since": hour.isoformat(), "until": f"{hour + timedelta(hours=1)}"}

    def send(**changes):
        return api(engineer).post(url("/datasets"), {**body, **changes}, headers={"Idempotency-Key": "k"})

    predict("a")
    first = send().json()["id"]
    predict("b")
    assert send().json()["id"] == first
    for changes in ({"dataset": "other"}, {"shadow": True}):
        assert send(**changes).json()["error"]["code"] == "idempotency_conflict"

    def come_first(**rest):  # another request of this key, while this one seals
        Job.objects.filter(pk=first).update(idempotency_key="k")
        return seal_period(**rest)

    Job.objects.filter(pk=first).update(idempotency_key=None)
    monkeypatch.setattr(datasets, "seal_period", come_first)
    assert send().json()["id"] == first
    assert Job.objects.count() == 1
