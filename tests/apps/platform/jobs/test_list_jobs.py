"""The list of jobs: its columns, orders and days, its file, and what is done to many rows at once."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.db.models import F

from apps.platform.audit.models import AuditRecord, Result
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

pytestmark = pytest.mark.services


@pytest.fixture
def rows(submit):
    """rows(n) -> so many queued jobs; the later ones are made a day later each."""

    def made(count: int) -> list[Job]:
        jobs = [submit() for _ in range(count)]
        for place, job in enumerate(jobs):
            Job.objects.filter(pk=job.pk).update(created_at=F("created_at") - timedelta(days=count - 1 - place))
        return jobs

    return made


@pytest.fixture
def read(web, engineer):
    """read(query) -> (status, text) of the list."""
    client = web(engineer)

    def ask(query: str = "") -> tuple[int, str]:
        answer = client.get(f"/p/demo/jobs{query}")
        return answer.status_code, answer.content.decode()

    return ask


@pytest.fixture
def table(web, engineer):
    """table(query) -> the lines of the CSV file."""
    client = web(engineer)

    def ask(query: str) -> list[list[str]]:
        body = b"".join(client.get(f"/p/demo/jobs?format=csv&{query}").streaming_content)
        return list(csv.reader(io.StringIO(body.decode(), newline="")))

    return ask


@pytest.fixture
def bulk(web, engineer):
    """bulk("cancel", ids, **fields) -> the answer."""
    client = web(engineer)
    return lambda verb, ids, **more: client.post("/p/demo/jobs/bulk", {"do": verb, "ids": ids, **more})


def test_picked_columns_alone_are_drawn(read, rows):
    rows(1)
    _, text = read("?columns=priority")
    assert 'data-l="Priority"' in text
    assert 'data-l="State"' not in text


def test_heads_say_the_order_and_lead_to_the_other(read, rows):
    rows(1)
    _, text = read("?sort=-made&state=queued")
    assert 'aria-sort="descending"><a href="?sort=made&amp;state=queued">Created' in text
    assert 'href="?sort=state&amp;state=queued">State' in text


def test_days_narrow_the_list(table, rows):
    jobs = rows(3)
    assert [row[0] for row in table("made_after=2d")[1:]] == [str(jobs[2].pk), str(jobs[1].pk)]
    assert [row[0] for row in table("made_after=today")[1:]] == [str(jobs[2].pk)]
    assert table("ended_after=today")[1:] == []


def test_an_invalid_query_is_422_without_rows(read, rows):
    rows(1)
    for query in ("?sort=wages", "?columns=wages", "?made_after=soon", "?state=asleep", "?limit=x"):
        status, text = read(query)
        assert (status, "note failed" in text, "<tbody>" in text) == (422, True, False), query


def test_an_order_by_an_end_leaves_out_what_has_none(read, rows):
    rows(1)
    _, text = read("?sort=-ended")
    assert "left out" in text
    assert "<tbody>" not in text


def test_a_file_goes_through_the_list_in_batches(table, rows, monkeypatch):
    monkeypatch.setattr("apps.core.lists.listing.ROWS_PER_BATCH", 2)
    jobs = rows(5)
    assert table("columns=kind&sort=kind") == [
        ["job", "kind"],
        *([str(job.pk), "noop"] for job in reversed(jobs)),
    ]


def test_each_of_many_is_cancelled_by_itself(bulk, rows):
    first, ended, last = rows(3)
    Job.objects.filter(pk=ended.pk).update(state=JobState.SUCCEEDED)
    answer = bulk("cancel", [first.pk, ended.pk, last.pk, 99999], reason="not needed")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "<b>2 done</b>" in text
    assert "<b>2 refused</b>" in text
    assert "already_ended" in text
    assert "This project has no job 99999." in text
    assert [job.state for job in Job.objects.order_by("pk")] == ["cancelled", "succeeded", "cancelled"]
    assert AuditRecord.objects.filter(action="job.cancelled", result=Result.DONE).count() == 2


def test_the_answer_is_a_loop_of_rest_calls_too(bulk, rows):
    first, last = rows(2)
    text = bulk("cancel", [first.pk, last.pk], reason="it's off").content.decode()
    assert f"for id in <span data-loop-ids>{first.pk} {last.pk}</span>" in text
    assert "/api/v1/projects/demo/jobs/&quot;$id&quot;/cancel" in text
    assert "it&#x27;&quot;&#x27;&quot;&#x27;s off" in text


def test_many_are_tried_again(bulk, rows):
    one, other = rows(2)
    Job.objects.filter(pk=one.pk).update(state=JobState.CANCELLED)
    text = bulk("retry", [one.pk, other.pk]).content.decode()
    assert "not_retryable" in text
    assert set(Job.objects.values_list("state", flat=True)) == {"queued"}


def test_many_get_another_place_in_line(bulk, rows):
    jobs = rows(2)
    bulk("priority", [job.pk for job in jobs], priority="-7")
    assert set(Job.objects.values_list("priority", flat=True)) == {-7}
    text = bulk("priority", [jobs[0].pk], priority="101").content.decode()
    assert "out_of_range" in text


def test_an_invalid_bulk_action_names_its_field_and_changes_nothing(bulk, rows):
    job = rows(1)[0]
    for verb, more, field in (
        ("cancel", {}, "reason"),
        ("cancel", {"reason": "  "}, "reason"),
        ("priority", {"priority": "high"}, "priority"),
        ("priority", {}, "priority"),
        ("destroy", {}, "do"),
        ("", {}, "do"),
    ):
        answer = bulk(verb, [job.pk], **more)
        assert (answer.status_code, f"<code>{field}</code>" in answer.content.decode()) == (422, True), (verb, more)
    assert Job.objects.values_list("state", "priority").get() == (JobState.QUEUED, 0)


def test_invalid_ids_are_422(bulk, rows):
    rows(1)
    for ids in ([], ["x"], [str(n) for n in range(1, 202)]):
        assert bulk("retry", ids).status_code == 422


def test_whoever_may_not_is_refused_once(web, viewer, rows):
    jobs = rows(2)
    client = web(viewer)
    body = {"do": "cancel", "ids": [job.pk for job in jobs], "reason": "no"}
    assert client.post("/p/demo/jobs/bulk", body).status_code == 403
    assert AuditRecord.objects.filter(action="job.cancel", result=Result.REFUSED).count() == 1
    assert "data-pick-all" not in client.get("/p/demo/jobs").content.decode()


def test_another_project_is_not_there(web, stranger, rows):
    job = rows(1)[0]
    body = {"do": "cancel", "ids": [job.pk], "reason": "no"}
    assert web(stranger).post("/p/demo/jobs/bulk", body).status_code == 404
    assert b"has no job" in web(stranger).post("/p/other/jobs/bulk", body).content
    assert Job.objects.get().state == JobState.QUEUED
