from __future__ import annotations

import pytest

from apps.fleet.recalls.models import Recall

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/recalls{tail}"


def test_preview_start_and_report(api, url, engineer, bad, returning_device, dataset_version, advance):
    client = api(engineer)
    subject = {"type": "dataset_version", "id": "wti:1"}
    preview = client.get(url("/preview"), subject).json()
    assert preview["counts"]["device"] == 1
    listed = client.get(url("/carriers"), subject | {"kind": "device"}).json()
    assert [item["label"] for item in listed["items"]] == ["press-1"]
    answer = client.post(url(), {**subject, "reason": "wrong units"}, format="json")
    assert answer.status_code == 201
    report = client.get(answer.json()["links"]["self"]).json()
    assert report["progress"]["running"]["active"] == 1
    advance(Recall.objects.get())
    assert client.get(url(f"/{report['id']}/items"), {"kind": "release"}).json()["items"][0]["outcome"] == "revoked"
    assert client.get(url(f"/{report['id']}/devices")).json()["items"][0]["outcome"] == "returning"
    assert (
        client.post(url(), {**subject, "reason": "again"}, format="json").json()["error"]["code"] == "already_recalled"
    )
    assert client.get(url(), {"state": "watching"}).json()["items"][0]["id"] == report["id"]


def test_bad_values_name_their_field(api, url, engineer, project):
    client = api(engineer)
    answers = {
        "type": client.get(url("/preview"), {"type": "planet", "id": 1}),
        "id": client.get(url("/preview"), {"type": "run", "id": 1}),
        "row": client.get(url("/preview"), {"type": "dataset_version", "id": 1, "row": "x"}),
        "state": client.get(url(), {"state": "gone"}),
        "/reason": client.post(url(), {"type": "run", "id": "1"}, format="json"),
    }
    wrong = {
        field: answer.json()
        for field, answer in answers.items()
        if answer.status_code not in (404, 422) or answer.json()["error"]["field"] != field
    }
    assert wrong == {}


def test_who_may_not(api, url, viewer, stranger, bad, dataset_version):
    body = {"type": "dataset_version", "id": str(dataset_version.pk), "reason": "x"}
    assert api(viewer).post(url(), body, format="json").status_code == 403
    assert api(viewer).get(url("/preview"), body).status_code == 200
    assert api(stranger).get(url("/preview"), body).status_code == 404


def test_a_block_is_told_and_lifted_by_an_approver(api, project, engineer, approver, start, bad):
    start()
    version = f"/api/v1/projects/{project.slug}/models/wti-forecast/versions/{bad.version.number}"
    assert "wrong units" in api(engineer).get(version).json()["block"]["reason"]
    assert api(engineer).post(f"{version}/unblock", {"reason": "x"}, format="json").status_code == 403
    assert api(approver).post(f"{version}/unblock", {"reason": "it was fine"}, format="json").json()["block"] is None
    again = api(approver).post(f"{version}/unblock", {"reason": "it was fine"}, format="json")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "not_blocked")
