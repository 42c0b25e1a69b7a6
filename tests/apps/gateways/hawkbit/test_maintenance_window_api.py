"""Set, read and remove the maintenance window of a project."""

from __future__ import annotations

import pytest

from apps.platform.audit.models import AuditRecord

NIGHT = {"days": ["sat", "sun"], "start": "22:00", "minutes": 240, "time_zone": "Europe/Berlin"}


@pytest.fixture
def url(project):
    return f"/api/v1/projects/{project.slug}/devices/maintenance-window"


def test_set_read_remove(api, engineer, url):
    client = api(engineer)
    assert client.get(url).status_code == 404
    assert client.put(url, NIGHT, format="json").json() == NIGHT
    assert client.put(url, NIGHT, format="json").status_code == 200
    assert client.get(url).json() == NIGHT
    assert client.delete(url).status_code == 204
    assert client.delete(url).status_code == 404
    assert AuditRecord.objects.filter(action="device.set_maintenance_window").count() == 2


def test_who_may(api, viewer, stranger, url):
    assert api(viewer).put(url, NIGHT, format="json").status_code == 403
    assert api(viewer).get(url).status_code == 404
    assert api(stranger).get(url).status_code == 404


def test_bad_values(api, engineer, url):
    cells = [
        {"days": []},
        {"days": ["monday"]},
        {"start": "24:00"},
        {"start": "7:00"},
        {"minutes": 0},
        {"minutes": 1441},
        {"time_zone": "Mars/Base"},
        {"time_zone": "../etc"},
        {"more": 1},
    ]
    client = api(engineer)
    wrong = {
        str(cell): answer.content
        for cell in cells
        if (answer := client.put(url, NIGHT | cell, format="json")).status_code != 422
        or "field" not in answer.json()["error"]
    }
    assert wrong == {}
