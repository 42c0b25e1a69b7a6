"""The rows of two versions: queued from the page and over REST, and shown once a job has compared them."""

from __future__ import annotations

import json

import pytest

from apps.core.errors import Invalid, Refused
from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.row_diff import find_latest_diff, submit_diff
from apps.platform.jobs.models import Job, JobOutput

pytestmark = pytest.mark.django_db
FOUND = {
    "schema": "plane/table-diff/v1",
    "keys": ["close"],
    "added": 1,
    "removed": 0,
    "changed": 2,
    "same": 7,
    "sample": [
        {"change": "changed", "key": ["7"], "columns": [{"name": "x", "before": "1", "after": "<2>"}], "more": 0}
    ],
}


@pytest.fixture
def two(added, held):
    return added({"a.parquet": held(b"one")})[0], added({"a.parquet": held(b"two")})[0]


@pytest.fixture
def who(actor_for, engineer):
    return actor_for(engineer)


@pytest.fixture
def compared(two, who, project, held):
    job = submit_diff(actor=who, project=project, before=two[0], after=two[1], keys=["close"])
    for slot, data in (("summary", json.dumps(FOUND).encode()), ("changes", b"PAR1")):
        JobOutput.objects.create(job=job, slot=slot, artifact=held(data), name=slot, media_type="application/json")
    return job


def test_a_comparison_is_a_job_of_both_tables(two, who, project):
    job = submit_diff(actor=who, project=project, before=two[0], after=two[1], keys=["close"])
    assert json.loads(job.spec)["keys"] == ["close"]
    taken = dict(job.inputs.values_list("slot", "artifact_id"))
    assert taken == {"before": two[0].files.get().artifact_id, "after": two[1].files.get().artifact_id}
    latest = find_latest_diff(who, *two)
    assert latest is not None
    assert (latest.job.pk, latest.found) == (job.pk, None)
    assert find_latest_diff(who, two[1], two[0]) is None


def test_what_cannot_be_compared(two, who, project, added, held):
    with pytest.raises(Invalid):
        submit_diff(actor=who, project=project, before=two[0], after=two[1], keys=[])
    photo, _ = added({"a.png": held(b"png")}, media_type="image/png")
    with pytest.raises(Invalid, match="no table"):
        submit_diff(actor=who, project=project, before=two[0], after=photo, keys=["close"])


def test_the_dialect_of_a_csv_goes_with_it(two, who, project, added, held):
    text, _ = added({"a.csv": held(b"a;b")}, media_type="text/csv; charset=gb18030; delimiter=%3B")
    job = submit_diff(actor=who, project=project, before=two[0], after=text, keys=["a"])
    spec = json.loads(job.spec)
    assert (spec["csv_after"]["delimiter"], spec["csv_after"]["encoding"]) == (";", "gb18030")


def test_who_may(two, actor_for, viewer, project):
    with pytest.raises(Refused):
        submit_diff(actor=actor_for(viewer), project=project, before=two[0], after=two[1], keys=["close"])


def test_the_page_queues_and_shows_it(two, engineer, web, compared):
    client = web(engineer)
    page = client.get("/p/demo/data/wti-daily/2/compare?with=1").content.decode()
    assert "1 added, 0 removed, 2 changed, 7 the same" in page
    assert "&lt;2&gt;" in page
    sent = client.post("/p/demo/data/wti-daily/2/diff", {"with": "1", "key": ["close"]})
    assert sent.url == "/p/demo/data/wti-daily/2/compare?with=1#rows"
    assert Job.objects.filter(kind="diff").count() == 2
    assert client.post("/p/demo/data/wti-daily/2/diff", {"with": "1"}).status_code == 302
    assert "No column is chosen." in client.get("/p/demo/data/wti-daily/2/compare").content.decode()


def test_a_version_of_another_dataset(two, engineer, web, worker_actor, project, added, held):
    other = create_dataset(actor=worker_actor, project=project, name="brent")
    added({"t.parquet": held(b"three")}, into=other)
    page = web(engineer).get("/p/demo/data/wti-daily/2/compare?with=brent@1").content.decode()
    assert "wti-daily v2 beside brent v1" in page


def test_over_rest(two, engineer, viewer, api, compared):
    url = "/api/v1/projects/demo/datasets/wti-daily/versions/2/diff/1"
    found = api(viewer).get(url).json()
    assert (found["job"], found["found"]["changed"]) == (compared.pk, 2)
    assert api(viewer).get(url.replace("/2/diff/1", "/1/diff/2")).json()["job"] is None
    assert api(engineer).post(url, {"keys": ["close"]}, format="json").status_code == 201
    assert api(viewer).post(url, {"keys": ["close"]}, format="json").status_code == 403
    assert api(engineer).post(url, {"keys": []}, format="json").status_code == 422
    assert api(engineer).get(url.replace("diff/1", "diff/9")).status_code == 404
