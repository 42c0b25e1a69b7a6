"""Devices whose keys the tests hold: they enrol and report by the services, as agents do over HTTP."""

from __future__ import annotations

from itertools import count

import pytest

from apps.fleet.devices.authentication import build_device_actor, build_enrolment_actor
from apps.fleet.devices.models import Device
from apps.fleet.devices.polling import answer_poll
from apps.fleet.devices.schemas import EnrolBody, EnrolmentTokenBody, StatusBody
from apps.fleet.devices.services import (
    assign_release,
    create_enrolment_token,
    enrol_device,
    record_receipt,
    record_status,
)
from apps.platform.audit.models import AuditRecord
from deepseek.signing.keys import encode_public_key, generate_key
from deepseek.signing.statements import HealthCheck, Receipt, sign_enrolment, sign_receipt
from tests.apps.fleet.releases.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_samples,
    approved,
    default_experiment,
    forms,
    held,
    issue,
    job_of,
    make_variant,
    operator,
    registered,
    store_files,
    variant,
)


@pytest.fixture
def create_token(project, engineer, actor_for):
    """create_token(**body) -> (the enrolment token, its secret)."""

    def create(where=None, **body):
        actor = actor_for(engineer)
        return create_enrolment_token(
            actor=actor, project=where or project, body=EnrolmentTokenBody(**{"name": "line 1", **body})
        )

    return create


@pytest.fixture
def build_enrolment():
    """build_enrolment(secret, key, **changes) -> the body that an agent with this key sends."""

    def build(secret, key, **changes):
        name = changes.get("name", "press-1")
        body = {
            "token": secret,
            "name": name,
            "public_key": encode_public_key(key.public_key),
            "architecture": "x86_64",
            "attributes": {"os": "debian"},
            "agent_version": "1.0",
            "proof": sign_enrolment(name, secret, key),
        }
        return {**body, **changes}

    return build


@pytest.fixture
def enrol(create_token, build_enrolment):
    """enrol(name="press-1", **changes) -> the device; its key is `device.key`, its token `device.secret`."""

    def run(name="press-1", tags=None, **changes) -> Device:
        token, secret = create_token(tags=tags or {})
        key = generate_key()
        body = EnrolBody(**build_enrolment(secret, key, name=name, **changes))
        device, device_secret = enrol_device(actor=build_enrolment_actor(token), token=token, body=body)
        device.key, device.secret = key, device_secret
        return device

    return run


@pytest.fixture
def device(enrol):
    return enrol()


@pytest.fixture
def acting():
    """acting(device) -> the actor that the device is."""
    return build_device_actor


@pytest.fixture
def find_records():
    """find_records(action) -> bodies of the audit records of this action, oldest first."""

    def find(action):
        return list(AuditRecord.objects.filter(action=action).order_by("pk"))

    return find


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/{tail}"


# -- releases and assignments ---------------------------------------------------------------------------------------
@pytest.fixture
def release(variant, issue):  # noqa: F811
    """The first release of a compiled variant, for x86_64."""
    return issue(variant)


@pytest.fixture
def next_release(variant, issue, release):  # noqa: F811
    """Another release of the same variant, above the first."""
    return issue(variant)


@pytest.fixture
def assign(actor_for, engineer):
    """assign(device, release, ...) -> the assignment that an engineer has made."""
    return lambda device, release, **more: assign_release(
        actor=actor_for(engineer), device=device, release=release, **more
    )


@pytest.fixture
def fetch():
    """fetch(device) -> what a poll of the device is answered."""
    return lambda device: answer_poll(f"Bearer {device.secret}", "").document


@pytest.fixture
def build_receipt():
    """build_receipt(device, release, assignment=None, key=None, **changes) -> an envelope, its counter one above the
    last that was built."""
    counters = count(1)

    def build(device, release, assignment=None, /, key=None, **changes):
        facts = {
            "device": str(device.pk),
            "project": device.project.slug,
            "assignment": str(assignment.pk) if assignment else "",
            "release": release.payload_digest,
            "variant": release.variant.artifact_id,
            "counter": next(counters),
            "boot_id": "boot-1",
            "started_at": "2026-11-29T10:00:00Z",
            "agent_version": "1.0",
            "health": HealthCheck(8, 0.0),
        }
        return sign_receipt(Receipt(**{**facts, **changes}), key or device.key).to_document()

    return build


@pytest.fixture
def receive(build_receipt):
    """receive(device, release, assignment, ...): a receipt of the device comes."""

    def take(device, release, assignment=None, /, **changes):
        document = build_receipt(device, release, assignment, **changes)
        row = record_receipt(actor=build_device_actor(device), device=device, document=document)
        device.refresh_from_db()
        return row

    return take


@pytest.fixture
def report():
    """report(device, assignment, step, ...): a status of the device comes."""
    return lambda device, assignment, step, **more: record_status(
        actor=build_device_actor(device), device=device, assignment=assignment, body=StatusBody(step=step, **more)
    )


def states(device):
    """The states of the device's assignments, oldest first."""
    return list(device.assignments.order_by("pk").values_list("state", flat=True))
