import pytest

from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


def test_cancel_with_a_reason(api, engineer, url, submit):
    answer = api(engineer).post(url(f"/{submit().pk}/cancel"), {"reason": "a mistake"})
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["cancel_reason"]) == ("cancelled", "a mistake")


def test_cancel_without_a_body(api, engineer, url, submit):
    assert api(engineer).post(url(f"/{submit().pk}/cancel")).json()["state"] == "cancelled"


def test_cancel_twice_is_409(api, engineer, url, submit):
    client, path = api(engineer), url(f"/{submit().pk}/cancel")
    client.post(path)
    answer = client.post(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "already_ended")


def test_retry(api, engineer, url, submit, claim, fail):
    submit(max_attempts=1)
    job = fail(claim())
    answer = api(engineer).post(url(f"/{job.pk}/retry"), {})
    assert (answer.json()["state"], answer.json()["attempt"]) == ("queued", "0 of 1")


def test_priority(api, engineer, url, submit):
    assert api(engineer).post(url(f"/{submit().pk}/priority"), {"priority": 7}).json()["priority"] == 7


def test_a_wrong_body_is_422_and_changes_nothing(api, engineer, url, submit):
    job, client = submit(), api(engineer)
    for verb, body, field in (
        ("cancel", {"why": "x"}, "/why"),
        ("cancel", {"reason": 1}, "/reason"),
        ("retry", {"reason": "x" * 501}, "/reason"),
        ("priority", {}, "/priority"),
        ("priority", {"priority": 101}, "/priority"),
        ("priority", {"priority": True}, "/priority"),
    ):
        answer = client.post(url(f"/{job.pk}/{verb}"), body)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), (verb, body)
    assert Job.objects.values_list("state", "priority").get() == ("queued", 0)


def test_a_viewer_is_403_and_a_get_is_405(api, viewer, url, submit):
    client, job = api(viewer), submit()
    for verb in ("cancel", "retry", "priority"):
        path = url(f"/{job.pk}/{verb}")
        assert (client.post(path, {"reason": 1}).status_code, client.get(path).status_code) == (403, 405), verb
