"""Reruns for programs: what one would meet, ask, wait, verdicts."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import Run
from apps.ml.reruns import api as module
from apps.ml.reruns.models import Rerun
from apps.platform.artifacts.models import Holding

pytestmark = pytest.mark.django_db
WEIGHTS = {"model/model.safetensors": b"weights"}


@pytest.fixture
def call(api, engineer, url):
    """call(method, tail, body=None, **headers) -> (status, JSON), by the engineer."""
    client = api(engineer)

    def ask(method, tail, body=None, **headers):
        answer = getattr(client, method)(url(tail), body, format="json", **headers)
        return answer.status_code, answer.json()

    return ask


def test_what_it_would_take(call, original):
    status, shown = call("get", f"/runs/{original.pk}/rerun")
    assert (status, shown["possible"], shown["errors"], shown["foreseen"]) == (200, True, [], [])
    assert shown["inputs"] == [{"slot": "table", "digest": original.inputs["table"], "size": 14, "fault": {}}]
    assert (shown["spec"]["seed"], shown["spec_digest"]) == (0, original.spec_digest)


def test_what_stands_in_its_way(call, original):
    Holding.objects.all().delete()
    status, shown = call("get", f"/runs/{original.pk}/rerun")
    assert (status, shown["possible"], shown["errors"][0]["code"]) == (200, False, "artifact_not_found")
    status, error = call("post", f"/runs/{original.pk}/rerun")
    assert (status, error["error"]["field"]) == (422, "/inputs/table/digest")


def test_ask_and_read_the_verdict(call, original, end, judged):
    status, made = call("post", f"/runs/{original.pk}/rerun", {"tolerance": {"relative": 0.01}})
    assert (status, made["status"], made["verdict"], made["judgement"]) == (201, "running", "", None)
    assert (made["tolerance"], made["run"]) == ({"relative": 0.01, "absolute": 1e-9}, None)
    rerun = Rerun.objects.get(pk=made["id"])
    run = end(rerun.job, loss=[3, 2, 1], outputs=WEIGHTS)
    judged(rerun)
    status, shown = call("get", f"/reruns/{rerun.pk}")
    assert (shown["verdict"], shown["run"], shown["judgement"]["metrics"]["identical"]) == ("identical", run.pk, 1)
    assert shown["judgement"]["summary"].startswith("Every series, metric and output is the same by digest.")
    assert call("get", f"/runs/{original.pk}/reruns")[1]["items"][0]["id"] == rerun.pk
    assert call("get", f"/runs/{run.pk}/verdict")[1]["against"] == original.pk


def test_why_there_is_no_verdict(call, original, ask, end, judged):
    rerun = ask(original)
    end(rerun.job, state="failed")
    judged(rerun)
    shown = call("get", f"/reruns/{rerun.pk}")[1]
    assert (shown["status"], shown["failure"]["error"]["message"]) == ("failed", "It broke.")


def test_wait_answers_when_it_is_judged(call, original, ask, end, dispatcher, monkeypatch):
    rerun = ask(original)
    end(rerun.job, loss=[3, 2, 1], outputs=WEIGHTS)

    def meanwhile(moving, seconds):
        assert moving()
        module.services.evaluate_ended_reruns(actor=dispatcher)
        assert not moving()

    monkeypatch.setattr(module, "wait_while", meanwhile)
    assert call("get", f"/reruns/{rerun.pk}?wait=5")[1]["verdict"] == "identical"
    assert call("get", f"/reruns/{rerun.pk}?wait=61")[0] == 422


def test_the_same_key_answers_with_the_first(call, original):
    first = call("post", f"/runs/{original.pk}/rerun", HTTP_IDEMPOTENCY_KEY="k")
    again = call("post", f"/runs/{original.pk}/rerun", HTTP_IDEMPOTENCY_KEY="k")
    assert (first[0], again[0], again[1]["id"]) == (201, 200, first[1]["id"])


def test_an_invalid_body_names_its_field(call, original):
    for body, field in (
        ({"tolerance": {"relative": 2}}, "/tolerance/relative"),
        ({"tolerance": {"absolute": -1}}, "/tolerance/absolute"),
        ({"tolerance": {"relative": "much"}}, "/tolerance/relative"),
        ({"spec": {"seed": 1}}, "/spec"),  # nothing of a rerun can be changed
        ({"priority": 1000}, "/priority"),
        ([], ""),
    ):
        status, error = call("post", f"/runs/{original.pk}/rerun", body)
        assert (status, error["error"]["field"] or "") == (422, field), body
    assert not Rerun.objects.exists()


def test_any_two_runs(call, original, end, add_job):
    other = end(add_job(seed=1), loss=[3, 2, 5])
    status, shown = call("get", f"/runs/{other.pk}/verdict?against={original.pk}")
    assert (status, shown["verdict"], shown["inputs"][0]["name"]) == (200, "different", "seed")
    loose = call("get", f"/runs/{other.pk}/verdict?against={original.pk}&relative=1")[1]
    assert (loose["tolerance"]["relative"], loose["metrics"]["within_tolerance"]) == (1.0, 1)


def test_a_verdict_of_an_invalid_query_names_its_parameter(call, original):
    for query, status, field in (
        ("", 422, "against"),
        ("?against=" + "0" * 32, 404, "id"),
        ("?against=nonsense", 404, "id"),
        (f"?against={original.pk}", 422, "against"),
        (f"?against={original.pk}&relative=x", 422, "/tolerance/relative"),
    ):
        answer = call("get", f"/runs/{original.pk}/verdict{query}")
        assert (answer[0], answer[1]["error"]["field"]) == (status, field), query


def test_infinities_are_words(call, end, add_job):
    was, now = end(add_job(), loss=[1]), end(add_job(), loss=[float("nan")])
    worst = call("get", f"/runs/{now.pk}/verdict?against={was.pk}")[1]["metrics"]["items"][0]
    assert (worst["now"], worst["absolute"]["difference"]) == ("NaN", "Infinity")


def test_rights(api, viewer, stranger, make_token, engineer, original, ask, url):
    rerun = ask(original)
    post, page = url(f"/runs/{original.pk}/rerun"), url(f"/reruns/{rerun.pk}")
    assert api(viewer).get(page).status_code == 200
    assert api(viewer).post(post).status_code == 403
    assert {api(stranger).get(page).status_code, api(stranger).post(post).status_code} == {404}
    reader = api(make_token(engineer, scopes=["read"])[0])
    assert reader.post(post).json()["error"]["code"] == "scope_missing"
    writer = api(make_token(engineer, scopes=["read", "jobs:write"])[0])
    assert writer.post(post).status_code == 201


def test_the_list_is_paged(call, original, ask):
    made = [ask(original).pk for _ in range(3)]
    first = call("get", f"/runs/{original.pk}/reruns?limit=2")[1]
    second = call("get", f"/runs/{original.pk}/reruns?limit=2&cursor={first['next']}")[1]
    assert [one["id"] for one in first["items"] + second["items"]] == made[::-1]


def test_an_outside_run_says_what_to_do(call, original):
    Run.objects.filter(pk=original.pk).update(job=None, kind="")
    status, error = call("post", f"/runs/{original.pk}/rerun")
    assert (status, error["error"]["code"]) == (409, "recorded_outside")
