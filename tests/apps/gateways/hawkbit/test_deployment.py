"""A deployment from the first look to its end, as the device reports it."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.fleet.devices.models import Assignment
from apps.fleet.devices.services import cancel_assignment
from apps.gateways.hawkbit.models import ClientState
from apps.platform.audit.models import AuditRecord


@pytest.fixture
def cancel(actor_for, engineer):
    return lambda action: cancel_assignment(actor=actor_for(engineer), assignment=action, reason="wrong one")


def read(action):
    return Assignment.objects.get(pk=action.pk)


def test_deployment(pump, action, release):
    link = pump.links["deploymentBase"]
    assert link.startswith(f"http://testserver/DEFAULT/controller/v1/pump-7/deploymentBase/{action.pk}?c=")
    assert read(action).fetched_at is None
    document = pump.get(link)
    assert read(action).fetched_at is not None
    assert document["id"] == str(action.pk)
    assert (document["deployment"]["download"], document["deployment"]["update"]) == ("forced", "forced")
    [chunk] = document["deployment"]["chunks"]
    version = release.variant.version
    assert (chunk["part"], chunk["name"], chunk["version"]) == ("bApp", version.model.name, str(version.number))
    assert {"key": "release", "value": release.payload_digest} in chunk["metadata"]
    [artifact] = chunk["artifacts"]
    assert (artifact["filename"], artifact["size"]) == (release.variant.file, release.variant.artifact.size)
    assert artifact["hashes"]["sha256"] == release.variant.artifact_id
    assert pump.links["deploymentBase"] == link


def test_a_whole_update(pump, action, release):
    pump.status("PUT", "/configData", {"data": {"serial": "1"}})
    assert "configData" not in pump.links
    pump.get(pump.links["deploymentBase"])
    assert pump.report(action, "download", details=["0 of 1"], progress={"cnt": 0, "of": 1}) == 200
    assert pump.report(action, "proceeding", result={"finished": "none", "progress": {"cnt": 1, "of": 2}}) == 200
    row = read(action)
    assert (row.state, row.step, row.progress) == ("assigned", "installing", 0.5)
    assert pump.report(action, "closed", "success", details=["Update Installed."]) == 200
    row = read(action)
    assert (row.state, row.is_signed, row.receipt, row.message) == ("succeeded", False, "", "Update Installed.")
    pump.device.refresh_from_db()
    assert pump.device.running == release
    links = pump.links
    assert "deploymentBase" not in links
    assert "configData" in links, "an update may have changed the attributes"
    assert pump.get(links["installedBase"])["id"] == str(action.pk)
    assert AuditRecord.objects.filter(action="device.install").count() == 1
    assert pump.report(action, "closed", "success") == 410
    assert pump.report(action, "closed", "failure") == 410
    assert read(action).state == "succeeded"


def test_every_end(pump, release, assign):
    cells = {
        ("closed", "failure"): "failed",
        ("closed", "none"): "succeeded",
        ("canceled", "none"): "cancelled",
    }
    ends = {}
    for execution, finished in sorted(cells, key=lambda cell: cells[cell] == "succeeded"):
        action = assign(pump, release)
        assert pump.report(action, execution, finished, code=7) == 200
        ends[execution, finished] = read(action).state
        assert pump.report(action) == 410
    assert ends == cells
    assert Assignment.objects.get(state="failed").code == "device_code_7"


def test_what_ends_nothing(pump, action):
    for execution in ("rejected", "download", "downloaded", "proceeding", "scheduled", "resumed"):
        assert pump.report(action, execution, details=[execution]) == 200
    assert read(action).state == "assigned"
    history = pump.get(f"/deploymentBase/{action.pk}?actionHistory=2")["actionHistory"]
    assert history == {"status": "RUNNING", "messages": ["installing: resumed", "installing: scheduled"]}
    assert len(pump.get(f"/deploymentBase/{action.pk}?actionHistory=-1")["actionHistory"]["messages"]) == 7
    for nonsense in ("0", "x", "-2", "9" * 30):
        assert (
            "actionHistory" not in pump.get(f"/deploymentBase/{action.pk}?actionHistory={nonsense}")
            or nonsense[0] == "9"
        )


def test_more_reports_than_are_kept(pump, action, monkeypatch):
    monkeypatch.setattr("apps.fleet.devices.services.reports.MAX_REPORTS", 5)
    assert {pump.report(action, details=[str(number)] * 60) for number in range(12)} == {200}
    assert action.events.filter(by_device=True).count() == 5
    assert pump.report(action, "closed", "success") == 200
    assert read(action).state == "succeeded"


def test_other_devices_actions(pump, action, register, connect_client):
    other = register("pump-8")
    for method, path, body in (
        ("GET", "/deploymentBase/{}", None),
        ("GET", "/cancelAction/{}", None),
        ("GET", "/installedBase/{}", None),
        ("POST", "/deploymentBase/{}/feedback", {"status": {"execution": "closed", "result": {"finished": "success"}}}),
        ("POST", "/cancelAction/{}/feedback", {"status": {"execution": "closed", "result": {"finished": "success"}}}),
    ):
        assert other.status(method, path.format(action.pk), body) == 404, path
        assert pump.status(method, path.format(action.pk + 99), body) == 404, path
    assert read(action).state == "assigned"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1]", b'{"status": {}}', b'{"status": {"execution": "done"}}', b"\xff\xfe"]
)
def test_garbage(pump, action, raw):
    path = f"/deploymentBase/{action.pk}/feedback"
    assert pump.status("POST", path, raw=raw) == 400
    assert read(action).reports == 0


def test_a_body_that_is_too_large(pump, action, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2000
    response = pump.send("POST", f"/deploymentBase/{action.pk}/feedback", raw=b" " * 3000)
    assert (response.status_code, response.json()["errorCode"]) == (413, "too_large")


# -- cancelling -----------------------------------------------------------------------------------------------------
def test_cancelled_before_the_device_was_told(pump, action, cancel):
    cancel(action)
    assert set(pump.links) == {"configData"}
    assert pump.status("GET", f"/deploymentBase/{action.pk}") == 404
    assert pump.report(action) == 410


def test_cancelled_while_it_is_on_its_way(pump, action, cancel):
    pump.get(f"/deploymentBase/{action.pk}")
    assert pump.status("GET", f"/cancelAction/{action.pk}") == 404
    assert pump.report(action, "closed", "success", on="cancelAction") == 405
    cancel(action)
    links = pump.links
    assert "deploymentBase" not in links
    number = str(action.pk)
    assert pump.get(links["cancelAction"]) == {"id": number, "cancelAction": {"stopId": number}}
    assert pump.status("GET", f"/deploymentBase/{action.pk}") == 404
    assert pump.report(action, "proceeding", on="cancelAction") == 200
    assert read(action).state == "cancelling"
    assert pump.report(action, "closed", "success", on="cancelAction", details=["stopped"]) == 200
    assert (read(action).state, read(action).message) == ("cancelled", "stopped")
    assert pump.report(action, "closed", "success", on="cancelAction") == 410
    assert set(pump.links) == {"configData"}
    assert pump.status("GET", f"/cancelAction/{action.pk}") == 200


@pytest.mark.parametrize(("execution", "finished"), [("rejected", "success"), ("closed", "failure")])
def test_a_device_that_does_not_stop(pump, action, cancel, execution, finished):
    pump.get(f"/deploymentBase/{action.pk}")
    cancel(action)
    assert pump.report(action, execution, finished, on="cancelAction", details=["too late"]) == 200
    assert read(action).state == "assigned"
    assert "deploymentBase" in pump.links
    assert AuditRecord.objects.filter(action="device.reject_cancellation").count() == 1


def test_a_device_that_had_installed_already(pump, action, cancel):
    pump.get(f"/deploymentBase/{action.pk}")
    cancel(action)
    assert pump.report(action, "closed", "success") == 200
    assert read(action).state == "succeeded"


def test_the_next_release_waits_until_the_device_has_stopped(pump, action, assign, issue, variant):
    pump.get(f"/deploymentBase/{action.pk}")
    second = assign(pump, issue(variant))
    assert "cancelAction" in pump.links
    assert pump.status("GET", f"/deploymentBase/{second.pk}") == 404
    pump.report(action, "closed", "success", on="cancelAction")
    assert pump.links["deploymentBase"].partition("?")[0].endswith(f"/deploymentBase/{second.pk}")


# -- windows, attributes --------------------------------------------------------------------------------------------
def test_outside_the_window(pump, action, project, monkeypatch):
    from apps.gateways.hawkbit.models import MaintenanceWindow

    MaintenanceWindow.objects.create(project=project, days=["mon"], start=0, minutes=60, time_zone="UTC", set_by="x")
    links = []
    for day, found in ((29, ("skip", "unavailable")), (30, ("forced", "available"))):
        now = timezone.datetime(2026, 11, day, 0, 30, tzinfo=timezone.get_fixed_timezone(0))
        monkeypatch.setattr("apps.gateways.hawkbit.queries.timezone.now", lambda now=now: now)
        links.append(pump.links["deploymentBase"])
        deployment = pump.get(links[-1])["deployment"]
        assert (deployment["update"], deployment["maintenanceWindow"]) == found
    assert links[0] != links[1]


def test_attributes(pump, register):
    read_labels = lambda: dict(pump.device.labels.filter(kind="attribute").values_list("key", "value"))  # noqa: E731
    assert (
        pump.status("PUT", "/configData", {"mode": "replace", "data": {"a": "1", "b": "2"}, "status": {"x": 1}}) == 200
    )
    assert pump.status("PUT", "/configData", {"data": {"b": "3"}}) == 200
    assert read_labels() == {"a": "1", "b": "3"}
    assert pump.status("PUT", "/configData", {"mode": "remove", "data": {"a": ""}}) == 200
    assert read_labels() == {"b": "3"}
    assert pump.status("PUT", "/configData", {"data": {"k" * 200: "v"}}) == 400
    assert pump.status("PUT", "/configData", {"data": {f"k{n}": "v" for n in range(101)}}) == 403
    assert read_labels() == {"b": "3"}
    assert set(pump.links) == set()


def test_what_it_says_that_it_has_installed(pump):
    body = {"name": "rootfs", "version": "7"}
    assert pump.status("PUT", "/installedBase", body) == 201
    assert pump.status("PUT", "/installedBase", body) == 200
    assert pump.status("PUT", "/installedBase", body | {"version": "8"}) == 201
    assert pump.status("PUT", "/installedBase", {"name": 3}) == 400
    assert pump.status("PUT", "/installedBase", {"name": "x" * 200, "version": ""}) == 400
    state = ClientState.objects.get()
    assert (state.installed_name, state.installed_version, state.attributes_wanted) == ("rootfs", "8", True)
    assert pump.status("GET", "/installedBase/1") == 404
