"""The fetch report of a collection, drawn on the page of its job."""

from __future__ import annotations

import json

import pytest
from django.db import transaction

from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.status.fetch_report import REPORT_TYPE, Fetch

pytestmark = pytest.mark.django_db
AT = "2026-11-25T10:00:00.123Z"


def fetched(page, **told):
    row = {"page": page, "url": f"http://wiki.bank/{page}", "status": 200, "bytes": 10 * page, "at": AT}
    return row | {"why": "", "message": ""} | told


GONE = fetched(2, status=404, bytes=None, why="http_404", message="The host answered 404.")
FOREIGN = fetched(3, status=None, bytes=None, why="refused", message="The host evil:80 is not on the list.")
REPORT = {
    "schema": "plane/fetch-report/v2",
    "refused": [{"code": "host", "what": "evil:80", "count": 3}],
    "fetches": [fetched(1), GONE, FOREIGN],
    "fetches_left_out": 7,
}


@pytest.fixture(autouse=True)
def _home(settings, tmp_path):
    settings.PLANE_HOME = tmp_path
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": ""})


@pytest.fixture
def job(project):
    facts = {"spec": "{}", "spec_digest": "", "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
    return Job.objects.create(project=project, kind="collect", state="succeeded", **facts)


@pytest.fixture
def page(web, engineer, job):
    """page(report or None, query) -> the text of the tab, of an answer of 200."""

    def look(report, query="", status=200):
        if report is not None:
            with get_store().open_staging() as staging:
                staging.write(json.dumps(report).encode())
                digest, size = staging.publish()
            artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
            JobOutput.objects.get_or_create(
                job=job, slot="report", defaults={"artifact": artifact, "name": "r.json", "media_type": REPORT_TYPE}
            )
        answer = web(engineer).get(f"/p/demo/jobs/{job.pk}/fetches{query}")
        assert answer.status_code == status
        return b"".join(answer).decode()

    return look


def test_each_page_with_what_came_of_it(page):
    text = page(REPORT)
    assert text.count("<code title=") == 3
    for part in ("http://wiki.bank/1", "404", "<b>refused</b>", "is not on the list", "7 more pages", "evil:80"):
        assert part in text


def test_what_robots_txt_forbids_is_refused():
    results = {why: Fetch(1, "http://wiki.bank/1", None, None, None, why, "").result for why in ("", "robots", "x")}
    assert results == {"": "fetched", "robots": "refused", "x": "missing"}


def test_it_is_narrowed_paged_and_taken_away(page):
    text = page(REPORT, "?result=refused")
    assert ("http://wiki.bank/3" in text, "http://wiki.bank/1" in text) == (True, False)
    assert 'rel="next"' in page(REPORT, "?limit=2")
    lines = page(REPORT, "?result=missing&format=csv").splitlines()
    assert lines == ["page,url,result,status,bytes,at,why", f"2,{GONE['url']},missing,404,,{AT[:-1]}000+00:00,http_404"]
    assert "There is no result" in page(REPORT, "?result=x", status=422)


def test_the_page_says_why_there_is_no_report(page, job):
    for report, state, message in (
        (None, "running", "The report appears when the job has succeeded"),
        (None, "failed", "There is no report"),
        ({"schema": "plane/fetch-report/v1", "refused": []}, "succeeded", "tells no single pages"),
        ({**REPORT, "fetches": []}, "succeeded", "There is no report"),
    ):
        with transaction.atomic():
            Job.objects.filter(pk=job.pk).update(state=state)
            assert message in page(report), (report, state)
            transaction.set_rollback(True)


def test_a_report_that_is_too_large_is_not_read(page, monkeypatch):
    monkeypatch.setattr("apps.platform.jobs.status.fetch_report.MAX_REPORT_BYTES", 10)
    assert "too large to be drawn" in page(REPORT)


def test_who_may_see_it(web, stranger, viewer, job):
    client = web(viewer)
    assert web(stranger).get(f"/p/demo/jobs/{job.pk}/fetches").status_code == 404
    assert client.get(f"/p/demo/jobs/{job.pk}/fetches").status_code == 200
    assert f"/p/demo/jobs/{job.pk}/fetches" in client.get(f"/p/demo/jobs/{job.pk}").content.decode()
