"""The users' REST: lists with filters and pages, show, actions; who may not is tested by test_refusal_order."""

import pytest

from apps.fleet.devices.models import Device

pytestmark = pytest.mark.django_db


def test_devices_are_listed_and_narrowed(enrol, release, assign, receive, api, viewer, engineer, url):
    first = enrol("press-1", tags={"site": "berlin"})
    enrol("press-2", architecture="aarch64")
    receive(first, release, assign(first, release))
    Device.objects.filter(name="press-2").update(mismatch="f" * 64)
    client = api(viewer)
    cases = {
        "": ["press-2", "press-1"],
        "?name=PRESS-1": ["press-1"],
        "?state=quarantined": [],
        "?architecture=aarch64&kind=agent&health=unknown&seen=never": ["press-2"],
        "?query=tag.site = 'berlin'": ["press-1"],
        f"?running={release.pk}": ["press-1"],
        "?mismatch=true": ["press-2"],
    }
    found = {query: [row["name"] for row in client.get(url("devices") + query).json()["items"]] for query in cases}
    assert found == cases
    wrong = ("state=x", "seen=x", "running=x", "query=x", "mismatch=x", "limit=1000")
    assert {client.get(url("devices") + f"?{query}").status_code for query in wrong} == {422}
    page = client.get(url("devices") + "?limit=1").json()
    assert [row["name"] for row in client.get(url("devices") + f"?cursor={page['next']}").json()["items"]] == [
        "press-1"
    ]
    shown = client.get(url(f"devices/{first.pk}")).json()
    assert (shown["tags"], shown["attributes"]) == ({"site": "berlin"}, {"os": "debian"})
    assert shown["running"]["sha256"] == release.payload_digest
    assert client.get(url("devices/counts")).json() == {
        "states": {"active": 2, "quarantined": 0, "revoked": 0},
        "running": {"0": 1, str(release.pk): 1},
    }


def test_what_is_done_to_a_device(device, api, engineer, approver, viewer, stranger, url):
    client, where = api(engineer), f"devices/{device.pk}"
    changed = client.patch(url(where), {"tags": {"hall": "2"}, "note": "by the door"}).json()
    assert (changed["tags"], changed["note"]) == ({"hall": "2"}, "by the door")
    assert client.patch(url(where), {"name": "x"}).status_code == 422
    assert client.post(url(f"{where}/quarantine"), {"reason": "odd"}).json()["state"] == "quarantined"
    assert client.post(url(f"{where}/reinstate"), {"reason": "fine"}).status_code == 403
    assert api(approver).post(url(f"{where}/reinstate"), {"reason": "fine"}).json()["state"] == "active"
    assert client.post(url(f"{where}/revoke"), {}).status_code == 422
    assert client.post(url(f"{where}/revoke"), {"reason": "sold"}).json()["reason"] == "sold"
    assert client.post(url(f"{where}/revoke"), {"reason": "sold"}).status_code == 409
    assert [api(user).get(url(where)).status_code for user in (viewer, stranger)] == [200, 404]
    assert client.get(url("devices/999999")).status_code == 404
    assert client.get(url(f"devices/{10**30}")).status_code == 404


def test_a_stock_client_is_made_by_hand(api, engineer, url):
    answer = api(engineer).post(url("devices"), {"name": "00:11:22:aa", "architecture": "aarch64"})
    assert (answer.status_code, answer.json()["device"]["kind"], answer.json()["token"][:4]) == (201, "hawkbit", "dsd_")
    again = api(engineer).post(url("devices"), {"name": "00:11:22:aa"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "device_exists")


def test_assignments(device, release, api, engineer, viewer, stranger, url):
    client = api(engineer)
    answer = client.post(url(f"devices/{device.pk}/assignments"), {"release": release.pk, "deadline_seconds": 60})
    document = answer.json()
    assert (answer.status_code, document["state"], document["device"]) == (201, "assigned", "press-1")
    assert [event["step"] for event in document["events"]] == ["assigned"]
    for path in ("assignments", f"devices/{device.pk}/assignments", f"assignments?device={device.pk}&state=assigned"):
        assert [row["id"] for row in api(viewer).get(url(path)).json()["items"]] == [document["id"]]
    assert client.get(url("assignments?state=failed")).json()["items"] == []
    assert {client.get(url(f"assignments?{query}")).status_code for query in ("state=x", "release=x")} == {422}
    assert api(stranger).get(url(f"assignments/{document['id']}")).status_code == 404
    assert client.post(url(f"devices/{device.pk}/assignments"), {"release": 999}).status_code == 404
    cancelled = client.post(url(f"assignments/{document['id']}/cancel"), {"reason": "no"}).json()
    assert (cancelled["state"], cancelled["message"]) == ("cancelled", "no")
    again = client.post(url(f"assignments/{document['id']}/cancel"), {})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "assignment_closed")


def test_groups_and_enrolment_tokens(api, engineer, viewer, url, enrol):
    client = api(engineer)
    made = client.post(url("device-groups"), {"name": "presses", "query": "name LIKE 'press%'"})
    assert made.status_code == 201
    assert client.post(url("device-groups"), {"name": "x", "query": "nonsense"}).json()["error"]["code"] == "bad_filter"
    enrol("press-1")
    enrol("gate-1")
    rows = api(viewer).get(url("devices?group=presses")).json()["items"]
    assert [row["name"] for row in rows] == ["press-1"]
    assert client.patch(url("device-groups/presses"), {"query": "name = 'gate-1'"}).json()["query"] == "name = 'gate-1'"
    assert [row["name"] for row in client.get(url("device-groups")).json()["items"]] == ["presses"]
    assert client.delete(url("device-groups/presses")).status_code == 204
    assert client.get(url("device-groups/presses")).status_code == 404
    token = client.post(url("enrolment-tokens"), {"name": "hall 2", "gateway": True, "max_uses": 5}).json()
    assert token["token"].startswith("dse_")
    listed = api(viewer).get(url("enrolment-tokens")).json()["items"]
    assert listed[0]["prefix"] == token["prefix"]
    assert "token" not in listed[0]
    assert client.post(url(f"enrolment-tokens/{token['id']}/revoke"), {}).json()["revoked_at"]
    assert client.post(url(f"enrolment-tokens/{token['id']}/revoke"), {}).status_code == 409
