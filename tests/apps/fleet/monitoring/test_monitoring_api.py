"""Monitors and alarms over REST."""

from __future__ import annotations

import pytest

from apps.fleet.monitoring.models import Monitor

BODY = {"name": "press accuracy", "model": "press", "metric": "accuracy", "source": "live", "limit": 0.05}


@pytest.fixture
def url(project):
    return lambda tail="monitors": f"/api/v1/projects/{project.slug}/{tail}"


def test_a_monitor_from_its_creation_to_its_end(api, engineer, url, version, source):
    client = api(engineer)
    made = client.post(url(), BODY, format="json")
    assert made.status_code == 201, made.json()
    pk = made.json()["id"]
    assert (made.json()["source"], made.json()["rule"], made.json()["reference"]) == ("live", "relative", None)
    assert client.patch(url(f"monitors/{pk}"), {"limit": 0.1}, format="json").json()["limit"] == 0.1
    assert client.post(url(f"monitors/{pk}/pause"), {"reason": "moving"}, format="json").json()["state"] == "paused"
    assert client.post(url(f"monitors/{pk}/resume")).json()["state"] == "active"
    assert [row["id"] for row in client.get(url() + "?model=press").json()["items"]] == [pk]
    assert client.get(url(f"monitors/{pk}/windows")).json()["items"] == []
    assert client.delete(url(f"monitors/{pk}")).status_code == 204
    assert not Monitor.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"limit": 2}, 422), ({"metric": "auc"}, 422), ({"model": "gone"}, 404), ({"limit": "a"}, 422)],
)
def test_bad_bodies_are_refused(api, engineer, url, version, source, changes, status):
    assert api(engineer).post(url(), {**BODY, **changes}, format="json").status_code == status
    assert not Monitor.objects.exists()


def test_an_alarm_with_its_evidence_is_acknowledged(api, engineer, url, alarm):
    client = api(engineer)
    assert [row["state"] for row in client.get(url("alarms?state=open")).json()["items"]] == ["open"]
    shown = client.get(url(f"alarms/{alarm.pk}")).json()
    assert shown["evidence"]["whole"]["value"] == 0.5
    assert client.post(url(f"alarms/{alarm.pk}/acknowledge"), {}, format="json").status_code == 422
    answer = client.post(url(f"alarms/{alarm.pk}/acknowledge"), {"reason": "dirty lens"}, format="json")
    assert (answer.status_code, answer.json()["state"]) == (200, "acknowledged")
    assert client.post(url(f"alarms/{alarm.pk}/close"), {}, format="json").json()["state"] == "closed"
    assert client.post(url(f"alarms/{alarm.pk}/close"), {}, format="json").status_code == 409


def test_a_stranger_sees_nothing(api, stranger, url, alarm):
    client = api(stranger)
    assert [client.get(url(tail)).status_code for tail in ("monitors", "alarms", f"alarms/{alarm.pk}")] == [404] * 3


def test_a_filter_that_is_none_is_refused(api, engineer, url, alarm):
    assert api(engineer).get(url("alarms?monitor=x")).status_code == 422
    assert api(engineer).get(url("alarms?state=x")).status_code == 422
