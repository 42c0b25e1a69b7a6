import pytest

from apps.fleet.rollouts.models import Rollout

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/rollouts{tail}"


def test_from_a_plan_to_a_start(api, url, engineer, approver, fleet, second_version, vote):
    client = api(engineer)
    body = {"model": second_version.model.name, "version": second_version.number, "title": "spring"}
    answer = client.post(url(), body, format="json")
    assert (answer.status_code, answer.json()["state"]) == (201, "draft")
    at = answer.json()["links"]["self"].removeprefix("http://testserver")
    assert client.get(f"{at}/preview").json()["devices"] == 20
    requested = client.post(f"{at}/request-start", {"comment": "please"}, format="json").json()
    assert requested["next_step"]["message"] == "Approvers decide whether it starts."
    vote(Rollout.objects.get().approval)
    started = client.post(f"{at}/start", {}, format="json").json()
    assert (started["state"], started["waves"][0]["state"]) == ("running", "running")
    devices = client.get(f"{at}/devices?wave=0").json()["items"]
    assert [device["stage"] for device in devices] == ["planned", "planned"]
    assert client.get(f"{at}/evidence").json()["items"] == []
    assert [row["id"] for row in client.get(url("?state=running")).json()["items"]] == [started["id"]]
    ended = client.post(f"{at}/abort", {"reason": "enough"}, format="json").json()
    assert (ended["state"], ended["reason"]) == ("aborted", "enough")


def test_who_sees_it(api, url, create, viewer, stranger):
    rollout = create()
    assert api(viewer).get(url(f"/{rollout.pk}")).status_code == 200
    assert api(viewer).post(url(f"/{rollout.pk}/request-start"), {}, format="json").status_code == 403
    assert api(stranger).get(url(f"/{rollout.pk}")).status_code == 404


def test_bad_plans_name_their_field(api, url, engineer, second_version):
    body = {"model": second_version.model.name, "version": second_version.number}
    cases = {
        "/waves/0": {"waves": [{"share": 0.1, "count": 2}]},
        "": {"waves": [{"share": 0.5}, {"share": 0.1}]},
        "/schedule/time_zone": {"schedule": {"time_zone": "Mars/Olympus"}},
        "/canary/gates/0": {"canary": {"gates": [{"name": "mae", "tests": ["non_inferiority"]}]}},
    }
    fields = {}
    for name, part in cases.items():
        answer = api(engineer).post(url(), {**body, **part}, format="json")
        fields[name] = (answer.status_code, answer.json()["error"]["field"])
    assert fields == {name: (422, name) for name in cases}
    wrong = api(engineer).get(url("?state=nope"))
    assert wrong.status_code == 422
