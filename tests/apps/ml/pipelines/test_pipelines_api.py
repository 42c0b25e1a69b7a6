from datetime import UTC, datetime

import pytest

from apps.ml.pipelines.models import Pipeline
from apps.platform.jobs import streams
from apps.platform.jobs.models import Job
from tests.apps.ml.pipelines.conftest import CHAIN, DIAMOND, step

pytestmark = [pytest.mark.django_db, pytest.mark.services]
BODY = {"name": "try", "steps": DIAMOND}


def test_201_with_every_step_and_the_links(api, engineer, url):
    answer = api(engineer).post(url(), BODY, format="json")
    assert answer.status_code == 201
    body = answer.json()
    assert (body["state"], body["name"], body["template"]) == ("running", "try", "")
    assert body["counts"] == {
        "total": 4, "waiting": 3, "queued": 1, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0
    }  # fmt: skip
    assert [(s["name"], s["state"], s["after"]) for s in body["steps"]] == [
        ("a", "queued", []),
        ("b", "waiting", ["a"]),
        ("c", "waiting", ["a"]),
        ("d", "waiting", ["b", "c"]),
    ]
    assert {s["job"] for s in body["steps"]} == set(Job.objects.values_list("pk", flat=True))
    assert answer.headers["Location"] == body["links"]["self"] == url(f"/{body['id']}")
    assert body["document"] == {"name": "try", "steps": DIAMOND} | {
        "steps": [{k: v for k, v in one.items() if v} for one in DIAMOND]
    }


def test_the_same_key_replays(api, engineer, url):
    client = api(engineer)
    first, second = (client.post(url(), BODY, format="json", headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert first.json()["id"] == second.json()["id"]
    other = client.post(url(), {"steps": CHAIN}, format="json", headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_422_names_every_field_at_once(api, engineer, url):
    client, wrong = api(engineer), []
    for body, fields in (
        ({}, {"/steps"}),
        ([], {None}),
        ({"steps": []}, {"/steps"}),
        ({"steps": [{}]}, {"/steps/0/name", "/steps/0/kind"}),
        ({"steps": [step("a", colour=1, spec={"seconds": "1"})]}, {"/steps/0/colour", "/steps/0/spec/seconds"}),
        ({"steps": [step("a", "b"), step("b", "a", spec={"steps": 0})]}, {"/steps/0", "/steps/1/spec/steps"}),
        ({"steps": [step("a", inputs={"x": {"step": "a", "slot": 1}})]}, {"/steps/0/inputs/x/slot"}),
        ({"template": "bake"}, {"/dataset", "/model"}),
        ({"template": "bake", "dataset": "d", "model": "m"}, {"/template"}),
    ):
        answer = client.post(url(), body, format="json")
        found = {error["field"] or None for error in answer.json()["error"]["errors"]}
        if (answer.status_code, found) != (422, fields):
            wrong.append((body, answer.status_code, found))
    assert wrong == []
    assert not Pipeline.objects.exists()


def test_submitting_requires_an_engineer_before_the_body_is_read(api, url, viewer, approver, stranger):
    for user, status in ((viewer, 403), (approver, 403), (stranger, 404)):
        assert api(user).post(url(), {"wrong": 1}, format="json").status_code == status, user.username


def test_the_list_is_narrowed_and_paged(api, viewer, url, start, work):
    first = start(name="one")
    work(3)
    start(name="two", template="t")
    client = api(viewer)
    page = client.get(url("?limit=1")).json()
    assert [row["name"] for row in page["items"]] == ["two"]
    assert [row["name"] for row in client.get(url(f"?limit=1&cursor={page['next']}")).json()["items"]] == ["one"]
    assert [row["id"] for row in client.get(url("?state=succeeded")).json()["items"]] == [first.pk]
    assert [row["name"] for row in client.get(url("?state=running&template=t")).json()["items"]] == ["two"]
    assert client.get(url("?state=asleep")).status_code == 422


def test_the_list_is_narrowed_by_the_day_on_which_it_was_made(api, viewer, url, start):
    client = api(viewer)
    made = [start(DIAMOND, name=name).pk for name in ("early", "late")]
    Pipeline.objects.filter(pk=made[1]).update(created_at=datetime(2026, 3, 2, 12, tzinfo=UTC))

    def names(query: str) -> list[str]:
        return [row["name"] for row in client.get(url(query)).json()["items"]]

    assert names("?made_after=2026-01-01") == ["early", "late"]  # the second was made before the first
    assert names("?made_before=2026-03-02") == ["late"]
    assert names("?made_after=today") == ["early"]
    assert client.get(url("?made_after=soon")).json()["error"]["field"] == "made_after"


def test_read_whole(api, viewer, url, start, work):
    pipeline = start()
    work(1)
    body = api(viewer).get(url(f"/{pipeline.pk}")).json()
    assert [s["state"] for s in body["steps"]] == ["succeeded", "queued", "waiting"]
    assert body["steps"][0]["outputs"] == [{"slot": "note", "digest": f"{body['steps'][0]['job']:064x}"}]
    assert body["ended_at"] is None


def test_pipelines_of_other_projects_and_unknown_ids_are_404(api, stranger, viewer, url, start):
    pipeline, outsider, member = start(), api(stranger), api(viewer)
    for tail in ("", "/wait", "/events"):
        assert outsider.get(url(f"/{pipeline.pk}{tail}")).status_code == 404, tail
        assert member.get(url(f"/{pipeline.pk + 1}{tail}")).status_code == 404, tail


def test_wait_answers_at_the_end_or_when_the_time_is_over(api, viewer, url, start, work, monkeypatch):
    monkeypatch.setattr(streams, "WAIT_POLL_SECONDS", 0.01)
    pipeline = start([step("a")])
    client = api(viewer)
    assert client.get(url(f"/{pipeline.pk}/wait?timeout=0")).json()["state"] == "running"
    assert client.get(url(f"/{pipeline.pk}/wait?timeout=1")).json()["state"] == "running"
    monkeypatch.setattr(streams.STOPPING, "wait", lambda seconds: work(1))
    assert client.get(url(f"/{pipeline.pk}/wait?timeout=60")).json()["state"] == "succeeded"
    assert client.get(url(f"/{pipeline.pk}/wait?timeout=61")).status_code == 422


def test_cancel(api, engineer, viewer, url, start):
    pipeline = start()
    assert api(viewer).post(url(f"/{pipeline.pk}/cancel")).status_code == 403
    client = api(engineer)
    body = client.post(url(f"/{pipeline.pk}/cancel"), {"reason": "a typo"}, format="json").json()
    assert (body["state"], body["counts"]["cancelled"]) == ("cancelled", 3)
    again = client.post(url(f"/{pipeline.pk}/cancel"))
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_ended")


def test_rerun(api, engineer, url, start, work):
    pipeline = start(DIAMOND)
    work(4)
    client, body = api(engineer), {"from": "b", "changes": {"d": {"steps": 3}}}
    answer = client.post(url(f"/{pipeline.pk}/rerun"), body, format="json", headers={"Idempotency-Key": "k"})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["rerun_of"], made["rerun_from"]) == (pipeline.pk, "b")
    assert [s["name"] for s in made["steps"]] == ["b", "d"]
    again = client.post(url(f"/{pipeline.pk}/rerun"), body, format="json", headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (200, made["id"])


def test_an_invalid_rerun_names_its_field(api, engineer, url, start, work):
    pipeline, client = start(), api(engineer)
    work(1)
    for body, status, field in (
        ({}, 422, "/from"),
        ({"from": "z"}, 422, "/from"),
        ({"from": "b", "changes": {"d": 1}}, 422, "/changes/d"),
        ({"from": "b", "changes": {"c": {"steps": 0}}}, 422, "/changes/c/steps"),
        ({"from": "c"}, 409, "/from"),
    ):
        answer = client.post(url(f"/{pipeline.pk}/rerun"), body, format="json")
        assert (answer.status_code, answer.json()["error"]["field"]) == (status, field), body


def test_a_viewer_runs_nothing_again(api, viewer, url, start):
    assert api(viewer).post(url(f"/{start().pk}/rerun"), {"from": "a"}, format="json").status_code == 403


def test_templates_are_listed_with_the_schema_of_their_parameters(api, viewer):
    listed = api(viewer).get("/api/v1/pipeline-templates").json()["items"]
    chain = next(row for row in listed if row["template"] == "clean-train-quantize-compile-register")
    assert list(chain["steps"]) == ["clean", "train", "quantize", "compile", "export", "register"]
    assert chain["schema"]["required"] == ["train"]
