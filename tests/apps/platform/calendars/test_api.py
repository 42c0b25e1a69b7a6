"""Schedules by REST."""

import pytest

from tests.apps.platform.calendars.conftest import FIELDS

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/schedules"


def test_a_schedule_from_its_creation_to_its_deletion(api, engineer, fire):
    client = api(engineer)
    made = client.post(URL, FIELDS, format="json")
    assert made.status_code == 201
    at = f"{URL}/{made.json()['id']}"
    assert len(made.json()["next_times"]) == 5
    assert client.patch(at, {"cron": "@hourly"}, format="json").json()["cron"] == "0 * * * *"
    assert client.post(f"{at}/pause", {"reason": "holidays"}, format="json").json()["next_times"] == []
    assert client.post(f"{at}/pause", format="json").status_code == 409
    assert client.post(f"{at}/resume").json()["state"] == "active"
    assert [row["name"] for row in client.get(URL, {"state": "active"}).json()["items"]] == ["nightly"]
    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404


def test_what_became_of_its_times(api, viewer, schedule, fire):
    fire()
    rows = api(viewer).get(f"{URL}/{schedule.pk}/occurrences", {"outcome": "submitted"}).json()["items"]
    assert [(row["outcome"], row["count"], row["reason"]) for row in rows] == [("submitted", 1, "")]
    assert api(viewer).get(f"{URL}/{schedule.pk}/occurrences", {"outcome": "x"}).status_code == 422


def test_preview(api, viewer):
    times = api(viewer).get(f"{URL}/preview", {"cron": "0 12 * * *", "timezone": "Asia/Shanghai"}).json()["next_times"]
    assert [time[11:] for time in times] == ["04:00:00Z"] * 5
    assert api(viewer).get(f"{URL}/preview", {"cron": "noon"}).status_code == 422


def test_others_get_nothing(api, viewer, stranger, schedule):
    answers = {
        "viewer creates": api(viewer).post(URL, FIELDS, format="json").status_code,
        "viewer pauses": api(viewer).post(f"{URL}/{schedule.pk}/pause").status_code,
        "viewer deletes": api(viewer).delete(f"{URL}/{schedule.pk}").status_code,
        "stranger reads": api(stranger).get(f"{URL}/{schedule.pk}").status_code,
        "no such schedule": api(viewer).get(f"{URL}/999").status_code,
    }
    assert answers == {
        "viewer creates": 403,
        "viewer pauses": 403,
        "viewer deletes": 403,
        "stranger reads": 404,
        "no such schedule": 404,
    }
