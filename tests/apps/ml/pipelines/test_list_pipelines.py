"""The list of pipelines: columns and orders, its file, and cancelling many at once."""

from __future__ import annotations

import csv
import io

from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

LIST = "/p/demo/pipelines"


def table(client, query: str) -> list[list[str]]:
    body = b"".join(client.get(f"{LIST}?format=csv&{query}").streaming_content)
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


def test_a_file_says_how_far_each_is(start, web, engineer):
    one = start(name="first")
    found = table(web(engineer), "columns=name,state,steps,done,ended")
    assert found == [
        ["pipeline", "name", "state", "steps", "done", "ended"],
        [str(one.pk), "first", "running", "3", "0", ""],
    ]


def test_an_invalid_query_is_422_with_a_message(start, web, engineer):
    start()
    client = web(engineer)
    for query in ("?sort=steps", "?columns=wages", "?made_before=soon", "?state=asleep"):
        answer = client.get(LIST + query)
        assert (answer.status_code, b"note failed" in answer.content) == (422, True), query


def test_each_of_many_is_cancelled_by_itself(start, web, engineer, states):
    moving, ended = start(), start()
    Job.objects.filter(pipeline_step__pipeline=ended).update(state=JobState.SUCCEEDED)
    body = {"do": "cancel", "ids": [moving.pk, ended.pk], "reason": "no need"}
    text = web(engineer).post(f"{LIST}/bulk", body).content.decode()
    assert "<b>1 done</b>" in text
    assert "already_ended" in text
    assert "/api/v1/projects/demo/pipelines/&quot;$id&quot;/cancel" in text
    assert set(states(moving).values()) == {"cancelled"}


def test_an_invalid_bulk_action_changes_nothing(start, web, engineer, states):
    one, client = start(), web(engineer)
    for body in ({"do": "retry"}, {"do": "cancel"}, {"do": "cancel", "reason": "x", "ids": []}):
        assert client.post(f"{LIST}/bulk", {"ids": [one.pk], **body}).status_code == 422, body
    assert "cancelled" not in states(one).values()


def test_whoever_may_not_is_refused(start, web, viewer, states):
    one = start()
    body = {"do": "cancel", "ids": [one.pk], "reason": "no"}
    assert web(viewer).post(f"{LIST}/bulk", body).status_code == 403
    assert "cancelled" not in states(one).values()
