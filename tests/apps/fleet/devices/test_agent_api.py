"""The agents' REST over HTTP: what a device sees, and that it sees nothing of another's."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from django.utils import timezone

from apps.fleet.devices.models import Device, DeviceTelemetry
from apps.fleet.devices.polling import answer_poll
from apps.fleet.devices.services import quarantine_device, revoke_device, telemetry
from apps.fleet.releases import queries as releases
from apps.fleet.releases.models import KeyList
from apps.fleet.releases.services import create_key
from apps.ml.observations.models import ObservationSource
from apps.platform.audit.models import AuditRecord
from deepseek.signing.keys import generate_key
from tests.apps.fleet.devices.conftest import states

pytestmark = pytest.mark.django_db
BASE = "/api/v1/agent"


@pytest.fixture
def ask():
    """ask(device or None, method, path, body, **headers) -> the answer."""

    def send(device, method, path, body=None, **headers):
        headers |= {"authorization": f"Bearer {device.secret}"} if device else {}
        data = json.dumps(body) if body is not None else ""
        return Client().generic(method, BASE + path, data, content_type="application/json", headers=headers)

    return send


@pytest.fixture
def running(device, release, assign, receive):
    """A device that runs the release."""
    receive(device, release, assign(device, release))
    return device


def code_of(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_enrolling_over_http(create_token, build_enrolment, ask, release, find_records):
    _, secret = create_token()
    key = generate_key()
    body = build_enrolment(secret, key, name="gate-1", a_field_of_later=1)
    answer = ask(None, "POST", "/enrol", body)
    document = answer.json()
    assert answer.status_code == 201
    device = Device.objects.get(name="gate-1")
    assert (document["device"], document["project"], document["poll_seconds"]) == (str(device.pk), "demo", 300)
    assert (document["release_keys"]["version"], len(document["release_keys"]["lists"])) == (1, 1)
    assert ask(None, "POST", "/enrol", body).json()["token"] != document["token"]
    assert code_of(ask(None, "POST", "/enrol", body | {"public_key": "AAAA"})) == (401, "enrolment_refused")
    assert len([one for one in find_records("device.enrol") if one.result == "refused"]) == 1


def test_what_an_enrolment_answers_to_what_is_wrong(create_token, build_enrolment, ask):
    _, secret = create_token()
    body = build_enrolment(secret, generate_key())
    cases = {
        "no token": ({}, (401, "enrolment_refused")),
        "unknown token": (body | {"token": "dse_" + "x" * 43}, (401, "enrolment_refused")),
        "a token that is none": (body | {"token": ["x"]}, (401, "enrolment_refused")),
        "a name with a slash": (body | {"name": "a/b"}, (422, "invalid")),
        "another processor": (body | {"architecture": "mips"}, (422, "invalid")),
        "too many attributes": (body | {"attributes": {str(n): "" for n in range(101)}}, (422, "invalid")),
        "a long attribute": (body | {"attributes": {"os": "x" * 129}}, (422, "invalid")),
    }
    found = {name: code_of(ask(None, "POST", "/enrol", sent)) for name, (sent, _) in cases.items()}
    assert found == {name: expected for name, (_, expected) in cases.items()}
    assert Device.objects.count() == 0


def test_refused_enrolments_of_an_address_are_bounded(ask, monkeypatch):
    monkeypatch.setattr("apps.fleet.devices.authentication.ENROLMENT_LIMITS", {"enrol": "2/5m/ip"})
    answers = [code_of(ask(None, "POST", "/enrol", {"token": "x"})) for _ in range(3)]
    assert answers == [(401, "enrolment_refused"), (401, "enrolment_refused"), (429, "too_many")]


def test_who_is_no_device(device, ask, api, engineer, make_token, url):
    """No token, another's, a person's; and a device's token opens nothing of a person's."""
    paths = [("GET", "/poll"), ("GET", "/keys"), ("GET", f"/files/{'a' * 64}"), ("POST", "/assignments/1/status")]
    paths += [("POST", path) for path in ("/receipts", "/heartbeat", "/observations/predictions")]
    persons = make_token(engineer)[0]
    wrong = {}
    for method, path in paths:
        for header in (None, "Bearer dsd_" + "x" * 43, f"Bearer {persons}", "Basic abc", f"bearer  {device.secret}x"):
            answer = ask(None, method, path, {}, **({"authorization": header} if header else {}))
            if code_of(answer) != (401, "device_unknown"):
                wrong[method, path, header] = answer.status_code
    assert wrong == {}
    assert api(device.secret).get(url("devices")).status_code == 401


def test_a_poll_costs_one_query_where_nothing_has_changed(
    device, release, assign, ask, django_assert_num_queries, monkeypatch
):
    first = ask(device, "GET", "/poll")
    assert first.json() == {
        "state": "active",
        "poll_seconds": 300,
        "keys_version": 1,
        "assignment": None,
        "observations": None,
    }
    monkeypatch.setattr(telemetry.TelemetryBuffer, "flush_soon", lambda self: None)
    etag = first.headers["ETag"]
    before = AuditRecord.objects.count()
    with django_assert_num_queries(1):  # as the fast path calls it
        assert answer_poll(f"Bearer {device.secret}", etag).document is None
    for _ in range(2):
        again = ask(device, "GET", "/poll", **{"if-none-match": etag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert AuditRecord.objects.count() == before
    assign(device, release)
    changed = ask(device, "GET", "/poll", **{"if-none-match": etag})
    assert (changed.status_code, changed.json()["assignment"]["action"]) == (200, "install")


def test_files_of_the_device_alone(device, enrol, release, next_release, assign, ask, actor_for, engineer):
    file = release.files.get(name="model.json")
    other = enrol("press-2")
    path = f"/files/{file.artifact_id}"
    assert code_of(ask(device, "GET", path)) == (404, "not_found")
    assign(device, release)
    whole = ask(device, "GET", path)
    content = b"".join(whole.streaming_content)
    assert (whole.status_code, len(content)) == (200, file.size)
    assert whole.headers["ETag"] == f'"sha256:{file.artifact_id}"'
    part = ask(device, "GET", path, range="bytes=2-4")
    assert (part.status_code, b"".join(part.streaming_content)) == (206, content[2:5])
    assert code_of(ask(other, "GET", path)) == (404, "not_found")
    assert code_of(ask(device, "GET", "/files/x")) == (404, "not_found")
    quarantine_device(actor=actor_for(engineer), device=device, reason="odd")
    assert code_of(ask(device, "GET", path)) == (404, "not_found")


def test_an_update_over_http(device, release, assign, ask, build_receipt, find_records):
    assignment = assign(device, release)
    path = f"/assignments/{ask(device, 'GET', '/poll').json()['assignment']['id']}/status"
    assert ask(device, "POST", path, {"step": "downloading", "progress": 0.25}).json() == {"state": "assigned"}
    assert code_of(ask(device, "POST", path, {"step": "sleeping"})) == (422, "invalid")
    receipt = {"envelope": build_receipt(device, release, assignment)}
    assert ask(device, "POST", "/receipts", receipt).json() == {"counter": Device.objects.get().receipt_counter}
    assert ask(device, "POST", "/receipts", receipt).status_code == 200
    assert (states(device), len(find_records("device.install"))) == (["succeeded"], 1)
    assert code_of(ask(device, "POST", path, {"step": "failed"})) == (409, "assignment_closed")


def test_nothing_of_another_device(device, enrol, release, assign, ask, build_receipt):
    other, assignment = enrol("press-2"), assign(device, release)
    path = f"/assignments/{assignment.pk}/status"
    for number in (str(assignment.pk), "0", "x", "9" * 30):
        answer = ask(other, "POST", f"/assignments/{number}/status", {"step": "failed"})
        assert code_of(answer) == (404, "not_found")
    stolen = {"envelope": build_receipt(device, release, assignment)}
    assert code_of(ask(other, "POST", "/receipts", stolen)) == (422, "key_unknown")
    assert (states(device), ask(device, "POST", path, {"step": "checking"}).status_code) == (["assigned"], 200)


def test_keys_above_a_version(device, release, ask):
    assert ask(device, "GET", "/keys").json()["version"] == 1
    newer = ask(device, "GET", "/keys?from=1").json()
    assert (newer["version"], newer["lists"]) == (1, [])


def test_keys_come_in_pages(device, release, ask, operator, monkeypatch):
    for _ in range(3):
        create_key(actor=operator)
    whole = releases.get_key_lists()["lists"]
    of_two = sum(len(text) for text in KeyList.objects.filter(version__lte=2).values_list("envelope", flat=True))
    for size, first in ((1, 1), (of_two, 2), (1_000_000, 4)):
        monkeypatch.setattr(releases, "KEY_LISTS_BYTES", size)
        page = ask(device, "GET", "/keys").json()
        lists = page["lists"]
        assert (page["version"], len(lists)) == (4, first)
        while len(lists) < 4:
            lists += ask(device, "GET", f"/keys?from={len(lists)}").json()["lists"]
        assert lists == whole


def test_a_heartbeat_over_http(device, ask):
    body = {"running": None, "installed": None, "health": "healthy", "metrics": {"load": 1}, "later": 1}
    answer = ask(device, "POST", "/heartbeat", body | {"clock": "2027-11-29T10:00:00+01:00"})
    assert abs((timezone.now() - timezone.datetime.fromisoformat(answer.json()["now"])).total_seconds()) < 60
    assert DeviceTelemetry.objects.get().health == "healthy"
    wrong = ({"health": "fine"}, {"clock": "yesterday"}, {"metrics": {"load": "high"}}, {"running": "x"})
    assert {code_of(ask(device, "POST", "/heartbeat", body | part))[0] for part in wrong} == {422}


def test_reports_of_a_device_are_bounded(device, enrol, ask, monkeypatch):
    limits = {"receipt": "1/m/key", "heartbeat": "2/m/key"}
    monkeypatch.setattr("apps.fleet.devices.authentication.REPORT_LIMITS", limits)
    found = {path: [ask(device, "POST", path, {}) for _ in range(3)] for path in ("/receipts", "/heartbeat")}
    statuses = {path: [answer.status_code for answer in answers] for path, answers in found.items()}
    assert statuses == {"/receipts": [422, 429, 429], "/heartbeat": [200, 200, 429]}
    assert code_of(found["/heartbeat"][2]) == (429, "too_many")
    assert found["/heartbeat"][2].headers["Retry-After"] == "60"
    assert ask(enrol("press-2"), "POST", "/heartbeat", {}).status_code == 200


def test_a_revoked_device_opens_nothing_and_is_recorded_once(device, ask, actor_for, engineer, find_records):
    revoke_device(actor=actor_for(engineer), device=device, reason="stolen")
    for method, path in (("GET", "/poll"), ("GET", "/keys"), ("POST", "/heartbeat")):
        assert code_of(ask(device, method, path, {})) == (401, "device_revoked")
    assert [record.result for record in find_records("device.report")] == ["refused"]


def test_observations_go_to_the_devices_own_source(running, release, enrol, ask):
    row = {"id": "p-1", "at": timezone.now().isoformat(), "model": release.model_name, "version": 1, "answer": 57.3}
    answer = ask(running, "POST", "/observations/predictions", {"rows": [row]})
    assert (answer.status_code, answer.json()["stored"]) == (200, 1)
    label = {"id": "p-1", "at": row["at"], "label": 58.0}
    assert ask(running, "POST", "/observations/labels", {"rows": [label]}).json()["stored"] == 1
    source = ObservationSource.objects.get()
    assert (source.name, source.kind, source.task) == ("press-1", "device", "regression")
    Device.objects.update(sampling_rate=0.5)
    wanted = ask(running, "GET", "/poll").json()["observations"]
    assert wanted == {"source": "press-1", "task": "regression", "sampling_rate": 0.5}
    fresh = enrol("press-2")
    assert code_of(ask(fresh, "POST", "/observations/predictions", {"rows": [row]})) == (409, "nothing_runs")
    assert code_of(ask(running, "POST", "/observations/predictions", {"rows": [], "source": "x"}))[0] == 422
