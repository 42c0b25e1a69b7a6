"""A small fleet that ran a first version, and a second version for it, with the dispatcher's steps taken by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.canonical import sha256_hex
from apps.fleet.devices.models import Device, DeviceLabel, DeviceTelemetry
from apps.fleet.releases.models import Release
from apps.fleet.rollouts.schemas import RolloutBody
from apps.fleet.rollouts.services import create_rollout, request_start
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve
from tests.apps.fleet.devices.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_samples,
    approved,
    default_experiment,
    find_records,
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

GATES = {
    "gates": [
        {"name": "install", "measure": "install_failure", "scale": "binary", "reference": "limit", "limit": 0.3},
        {"name": "latency_ms", "tests": ["harm", "non_inferiority"], "margin": 5},
    ],
    "soak_seconds": 60,
    "min_canary": 2,
    "min_control": 2,
}


@pytest.fixture
def dispatcher():
    return build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def first_release(variant, issue) -> Release:  # noqa: F811
    """What the fleet runs before."""
    return issue(variant)


@pytest.fixture
def second_version(first_release, make_variant, add_samples):  # noqa: F811
    """A version after it, which nobody has approved yet."""
    made = make_variant()
    add_samples(made)
    return made.version


@pytest.fixture
def add_devices(project, first_release):
    """add_devices(count, sites=2) -> devices that run the first release, without their keys."""

    def add(count, sites=2, start=0, **columns):
        facts = {"project": project, "architecture": "x86_64", "running": first_release, "created_by": "test"}
        facts |= {"running_since": timezone.now() - timedelta(days=1), **columns}
        names = [f"press-{number}" for number in range(start, start + count)]
        devices = Device.objects.bulk_create(
            Device(name=name, token_digest=sha256_hex(name), public_key=sha256_hex(name)[:44], **facts)
            for name in names
        )
        DeviceTelemetry.objects.bulk_create(
            DeviceTelemetry(device=device, project=project, last_seen=timezone.now(), health="healthy")
            for device in devices
        )
        DeviceLabel.objects.bulk_create(
            DeviceLabel(device=device, project=project, kind="tag", key="site", value=f"site {number % sites}")
            for number, device in enumerate(devices)
        )
        return devices

    return add


@pytest.fixture
def fleet(add_devices):
    return add_devices(20)


@pytest.fixture
def create(actor_for, engineer, project, second_version):
    """create(**body) -> a rollout of the second version, as an engineer plans it."""

    def make(**body):
        facts = {"model": second_version.model.name, "version": second_version.number, "canary": GATES}
        return create_rollout(
            actor=actor_for(engineer), project=project, body=RolloutBody.model_validate({**facts, **body})
        )

    return make


@pytest.fixture
def vote(actor_for, approver):
    """vote(approval) -> an approver approves it at a browser."""

    def give(approval, who=None, reason="good"):
        actor = actor_for(who or approver)
        proof = Proof(user_id=actor.user_id, method="password")
        return approve(actor=actor, approval=approval, facts_digest=approval.facts_digest, reason=reason, proof=proof)

    return give


@pytest.fixture
def approved_rollout(create, fleet, approver, actor_for, engineer, vote):
    """approved_rollout(**body) -> a rollout of the fleet that approvers let start."""

    def make(**body):
        rollout = request_start(actor=actor_for(engineer), rollout=create(**body))
        vote(rollout.approval)
        rollout.refresh_from_db()
        return rollout

    return make
