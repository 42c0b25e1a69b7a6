"""The agent and the plane itself: what each sends is what the other takes."""

import base64
import json
import signal
import urllib.request

import pytest

from apps.fleet.devices.models import Device as PlaneDevice
from apps.fleet.devices.models import DeviceTelemetry
from apps.fleet.devices.services import assign_release, revoke_device
from apps.fleet.releases.samples import KIND
from apps.fleet.releases.services import revoke_release, rotate_key
from apps.ml.observations.models import Label
from deepseek.agent.storage.home import Home
from tests.apps.fleet.devices.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_samples,
    approved,
    create_token,
    default_experiment,
    forms,
    held,
    issue,
    job_of,
    make_variant,
    registered,
    states,
    store_files,
)
from tests.deepseek.agent.conftest import Device
from tests.deepseek.agent.servers import FakeServer
from tests.deepseek.agent.test_agent_process import Process, ask, make_real_model, wait_for
from tests.ports import find_free_port


class PlainServer(FakeServer):
    """A server of files that are no model: it is alive, unless `failing` has its release."""

    failing = set()

    def __init__(self, version, recording=None, *, is_candidate=False):
        self.version, self.recording, self.is_candidate = version, recording, is_candidate
        self.started_at = "2026-11-29T15:44:48+00:00"
        self.ended = version.release in self.failing and not is_candidate
        self.behaviour, self.is_silent = "", False


@pytest.fixture
def agent(live_server, tmp_path, create_token, monkeypatch):  # noqa: F811
    monkeypatch.setattr("tests.deepseek.agent.servers.FakeServer", PlainServer)
    monkeypatch.setattr(PlainServer, "failing", set())
    _, secret = create_token()
    made = Device(tmp_path / "device", live_server, enrolment_token=secret, attributes={"site": "berlin"})
    yield made
    made.agent.close()


@pytest.fixture
def variant(make_variant, approved):  # noqa: F811
    made = make_variant()
    approved(made.version)
    return made


def test_from_the_enrolment_to_a_receipt_a_roll_back_and_a_revocation(
    agent,
    variant,
    issue,  # noqa: F811
    actor_for,
    engineer,
    operator,
):
    agent.run()
    device = PlaneDevice.objects.get(name="press-1")
    first, second = (issue(variant, without_samples=True) for _ in range(2))
    assign_release(actor=actor_for(engineer), device=device, release=first)
    agent.wait(700)
    device.refresh_from_db()
    assert (states(device), device.running_id) == (["succeeded"], first.pk)
    assert agent.current == first.payload_digest
    telemetry = DeviceTelemetry.objects.get(device=device)
    assert telemetry.health == "healthy"
    rotate_key(actor=operator)
    PlainServer.failing = {second.payload_digest}
    assign_release(actor=actor_for(engineer), device=device, release=second)
    agent.wait(700)
    device.refresh_from_db()
    assert (states(device), device.running_id) == (["succeeded", "rolled_back"], first.pk)
    assert agent.agent.trust.version == 2
    third = issue(variant, without_samples=True)
    assign_release(actor=actor_for(engineer), device=device, release=third)
    revoke_release(actor=operator, release=third, reason="wrong")
    agent.wait(700)
    assert agent.current == first.payload_digest
    revoke_device(actor=actor_for(engineer), device=device, reason="stolen")
    agent.wait(700)
    assert agent.agent.session.state == "revoked"
    assert agent.factory.answering == [first.payload_digest]


def test_a_release_is_installed_with_its_provenance_alone(
    live_server,
    tmp_path,
    create_token,  # noqa: F811
    monkeypatch,
    variant,
    issue,  # noqa: F811
    actor_for,
    engineer,
):
    """On a device that requires it: as the plane signed it, never without, nor with that of another release."""
    monkeypatch.setattr("tests.deepseek.agent.servers.FakeServer", PlainServer)
    strict = Device(tmp_path / "strict", live_server, enrolment_token=create_token()[1], is_provenance_required=True)
    try:
        strict.run()
        device = PlaneDevice.objects.get(name="press-1")
        first, without, altered = (issue(variant, without_samples=True) for _ in range(3))
        envelope = json.loads(altered.provenance)
        payload = base64.b64decode(envelope["payload"]).replace(b"slsa.dev", b"slsa.def")
        envelope["payload"] = base64.b64encode(payload).decode()
        type(first).objects.filter(pk=without.pk).update(provenance="")
        type(first).objects.filter(pk=altered.pk).update(provenance=json.dumps(envelope))
        for release in (first, without, altered):
            assign_release(actor=actor_for(engineer), device=device, release=release)
            strict.wait(700)
        device.refresh_from_db()
        ends = list(device.assignments.order_by("pk").values_list("state", "code"))
        assert ends == [("succeeded", ""), ("failed", "provenance_missing"), ("failed", "signature_wrong")]
        assert (strict.current, device.running_id) == (first.payload_digest, first.pk)
        stored = Home(strict.folder).get_version_folder(first.payload_digest) / "provenance.json"
        assert json.loads(stored.read_text()) == json.loads(first.provenance)
    finally:
        strict.agent.close()


@pytest.fixture
def real_variant(registered, held, approved, job_of, tmp_path):  # noqa: F811
    """A model that answers, in production, with its samples."""
    contents = make_real_model(tmp_path / "model", 1)
    variant = registered(names=("fp32", "int8")).variants.get(name="fp32")
    variant.artifact, variant.manifest = held(contents["model.onnx"]), held(contents["model.json"])
    variant.file, variant.format = "model.onnx", "onnx"
    variant.save()
    approved(variant.version)
    samples = held(contents["samples.json"])
    job_of(KIND, {"manifest": variant.manifest}, {"samples": samples}, variant.version.model.project)
    return variant


@pytest.mark.e2e
def test_a_process_with_a_real_server_and_the_plane(
    live_server,
    create_token,  # noqa: F811
    real_variant,
    issue,  # noqa: F811
    actor_for,
    engineer,
    tmp_path,
):
    _, secret = create_token()
    port = find_free_port()
    agent = Process(live_server, tmp_path / "device", port, secret)
    try:
        wait_for(lambda: PlaneDevice.objects.exists())
        device = PlaneDevice.objects.get()
        release = issue(real_variant)
        assign_release(actor=actor_for(engineer), device=device, release=release)
        wait_for(lambda: states(device)[0] in ("succeeded", "failed", "rolled_back"))
        assert states(device) == ["succeeded"]
        assert ask(port) == str(real_variant.version.number)
        body = json.dumps({"rows": [{"id": "p-1", "label": 57.9}]}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/labels", data=body) as answer:
            assert answer.status == 202
        wait_for(lambda: Label.objects.filter(source__name="press-1").exists())
        assert agent.end(signal.SIGTERM) == 0
        device.refresh_from_db()
        assert device.running_id == release.pk
    finally:
        agent.process.kill()
        print((tmp_path / "agent.log").read_text()[-3000:])
