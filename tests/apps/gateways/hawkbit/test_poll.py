"""The base resource: who may poll, and what there is to do."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.fleet.devices.models import Device, EnrolmentToken
from apps.fleet.devices.services import quarantine_device, revoke_device
from apps.fleet.devices.states import DeviceKind
from apps.fleet.releases.services import revoke_key, revoke_release
from apps.gateways.hawkbit import services
from apps.platform.audit.models import AuditRecord
from tests.apps.gateways.hawkbit.conftest import StockClient


def test_idle(pump, settings):
    settings.ENV = settings.ENV.model_copy(update={"device_poll_seconds": 90})
    document = pump.get()
    assert document["config"] == {"polling": {"sleep": "00:01:30"}}
    assert set(document["_links"]) == {"configData"}
    pump.device.telemetry.refresh_from_db()
    assert pump.device.telemetry.last_seen is not None


def test_tenants_and_credentials(pump, register, connect_client, project):
    second = register("pump-8")
    connect_client("line-1").get()
    secret, gateway = pump.secret, connect_client("x").secret
    cells = {
        ("DEFAULT", "pump-7", "TargetToken", secret): 200,
        ("default", "pump-7", "TargetToken", secret): 200,
        (project.slug, "pump-7", "TargetToken", secret): 200,
        (project.slug.upper(), "pump-7", "TargetToken", secret): 200,
        ("other", "pump-7", "TargetToken", secret): 401,
        ("DEFAULT", "pump-8", "TargetToken", secret): 401,  # another device's token
        ("DEFAULT", "pump-8", "TargetToken", second.secret): 200,
        ("DEFAULT", "pump-9", "TargetToken", secret): 401,
        ("DEFAULT", "pump-7", "targettoken", secret): 401,  # the scheme as it is written
        ("DEFAULT", "pump-7", "TargetToken", " " + secret): 401,
        ("DEFAULT", "pump-7", "TargetToken", secret + "x"): 401,
        ("DEFAULT", "pump-7", "TargetToken", "dsd_" + "a" * 43): 401,
        ("DEFAULT", "pump-7", "Bearer", secret): 401,
        ("DEFAULT", "pump-7", "", ""): 401,
        ("DEFAULT", "pump-7", "TargetToken", gateway): 401,
        ("DEFAULT", "pump-7", "GatewayToken", secret): 401,
        ("DEFAULT", "pump-7", "GatewayToken", gateway): 401,  # it has a token of its own
        ("DEFAULT", "line-1", "GatewayToken", gateway): 200,
        ("other", "line-1", "GatewayToken", gateway): 401,
    }
    answers = {
        cell: StockClient(name, scheme, token, tenant).status("GET")
        for cell in cells
        for tenant, name, scheme, token in [cell]
    }
    assert answers == cells
    refused = StockClient("pump-7", "", "").send("GET")
    assert refused.headers["WWW-Authenticate"]
    assert set(refused.json()) == {"exceptionClass", "errorCode", "message"}


def test_other_projects_devices_of_the_same_name(pump, other_project):
    """The token decides the project: two devices of one name never meet."""
    Device.objects.create(
        project=other_project, name="pump-7", kind=DeviceKind.HAWKBIT, token_digest="0" * 64, created_by="x"
    )
    assert pump.status("GET") == 200
    assert StockClient("pump-7", "TargetToken", pump.secret, other_project.slug).status("GET") == 401


def test_a_gateway_lets_in_unknown_ids_with_their_first_poll(connect_client, gateway_token):
    line = connect_client("line-1")
    assert line.status("PUT", "/configData", {"data": {}}) == 401
    assert line.status("GET", "/deploymentBase/1") == 401
    assert line.status("GET") == 200
    device = Device.objects.get(name="line-1")
    assert (device.kind, device.public_key, device.enrolment_token) == ("hawkbit", "", gateway_token[0])
    assert dict(device.labels.values_list("key", "value")) == {"line": "1"}
    assert AuditRecord.objects.filter(action="device.enrol").count() == 1
    assert line.status("GET") == 200
    assert line.status("PUT", "/configData", {"data": {"serial": "1"}}) == 200
    assert EnrolmentToken.objects.get(pk=gateway_token[0].pk).uses == 1


def test_a_gateway_that_is_used_up_or_expired_goes_on_for_those_that_are_there(connect_client, gateway_token):
    for name in ("line-1", "line-2", "line-3"):
        assert connect_client(name).status("GET") == 200
    assert connect_client("line-4").status("GET") == 401
    EnrolmentToken.objects.update(expires_at=timezone.now(), max_uses=9)
    assert connect_client("line-4").status("GET") == 401
    assert connect_client("line-1").status("GET") == 200
    EnrolmentToken.objects.update(revoked_at=timezone.now())
    assert connect_client("line-1").status("GET") == 401
    assert set(Device.objects.values_list("name", flat=True)) == {"line-1", "line-2", "line-3"}


def test_unknown_ids_with_a_token_that_is_used_up_are_bounded(connect_client, gateway_token, monkeypatch):
    monkeypatch.setattr("apps.fleet.devices.authentication.ENROLMENT_LIMITS", {"enrol": "2/5m/ip"})
    assert connect_client("line-1").status("GET") == 200
    EnrolmentToken.objects.update(max_uses=1)
    assert [connect_client(f"line-{number}").status("GET") for number in range(2, 5)] == [401, 401, 429]
    assert connect_client("line-1").status("GET") == 200
    refused = AuditRecord.objects.filter(action="device.enrol", result="refused")
    assert (refused.count(), "used up" in refused.get().body) == (1, True)


@pytest.mark.parametrize("name", ["-pump", "a b", "x" * 101, "%C3%A9", "a%2Fb"])
def test_ids_that_no_device_has(connect_client, name):
    assert connect_client(name).status("GET") in {400, 401, 404}
    assert not Device.objects.exists()


def test_an_agent_is_no_stock_client(pump, connect_client):
    Device.objects.update(kind=DeviceKind.AGENT, public_key="k")
    assert pump.status("GET") == 401
    assert connect_client("pump-7").status("GET") == 401
    Device.objects.update(token_prefix="")
    assert connect_client("pump-7").status("GET") == 401


def test_revoked_and_quarantined(pump, action, actor_for, engineer):
    assert "deploymentBase" in pump.links
    quarantine_device(actor=actor_for(engineer), device=pump.device, reason="looks wrong")
    assert set(pump.links) == {"configData"}
    assert pump.status("GET", f"/deploymentBase/{action.pk}") == 404
    revoke_device(actor=actor_for(engineer), device=pump.device, reason="gone")
    assert pump.status("GET") == 401


def test_a_release_that_is_revoked_is_offered_no_more(pump, action, release, actor_for, engineer):
    revoke_release(actor=actor_for(engineer), release=release, reason="bad")
    assert "deploymentBase" not in pump.links
    assert pump.status("GET", f"/deploymentBase/{action.pk}") == 404
    assert pump.status("GET", f"/softwaremodules/{release.pk}/artifacts") == 404


def test_a_release_that_a_revoked_key_has_signed_is_offered_no_more(pump, action, release, operator):
    revoke_key(actor=operator, key=release.key, reason="stolen")
    assert "deploymentBase" not in pump.links
    assert pump.status("GET", f"/deploymentBase/{action.pk}") == 404


def test_a_large_file_waits_for_its_hashes(pump, action, release, monkeypatch, worker_actor):
    rung = []
    monkeypatch.setattr(services.file_hashes, "INLINE_BYTES", 0)
    monkeypatch.setattr(services.file_hashes.current_app, "send_task", lambda *args, **how: rung.append(args))
    for _ in range(3):
        assert "deploymentBase" not in pump.links
    assert rung == [(services.file_hashes.HASH_TASK,)]
    services.hash_stored_file(actor=worker_actor, digest=release.variant.artifact_id)
    assert "deploymentBase" in pump.links


def test_addresses_and_methods_that_there_are_none_of(pump):
    cells = {
        ("GET", "/"): 200,
        ("POST", ""): 405,
        ("DELETE", "/configData"): 405,
        ("GET", "/configData"): 405,
        ("GET", "/nothing"): 404,
        ("GET", "/confirmationBase"): 404,
        ("GET", "/deploymentBase"): 404,
        ("GET", "/deploymentBase/abc"): 404,
        ("GET", "/deploymentBase/" + "9" * 40): 404,
        ("GET", "/softwaremodules/1/artifacts/../../x"): 404,
    }
    assert {cell: pump.status(*cell) for cell in cells} == cells
    assert StockClient("pump-7", "", "").status("GET", "/nothing") == 401
