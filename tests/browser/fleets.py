"""A fleet that runs the first version of a model, and a second version for it: run in the plane's home.

Devices are rows without keys: what a browser's test looks at are pages, and tests of the agent look at devices.
"""

from __future__ import annotations

from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.fleet.devices.models import Device, DeviceLabel, DeviceTelemetry
from apps.fleet.releases.services import issue_release
from apps.fleet.rollouts.models import Rollout
from apps.ml.registry.models import Variant
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from tests.apps.fleet.rollouts.looks import add_look as add_look_to
from tests.browser.versions import make
from tests.faults.served_models import promote


def make_fleet(model: str, count: int) -> None:
    """`count` devices of two sites that run `model` v1, and v2, which is not approved."""
    project = Project.objects.get(slug="demo")
    for rmse in (1.5, 1.2):
        make(model, rmse)
    variants = Variant.objects.filter(version__model__name=model)
    variants.update(format="onnx", file="model.onnx")  # which a device serves
    promote(model, 1)
    engineer = build_actor_for_user(User.objects.get(username="engineer"))
    first = variants.select_related("version__model__project", "artifact", "manifest").get(version__number=1)
    release = issue_release(actor=engineer, variant=first, without_samples=True)
    facts = {"project": project, "architecture": "x86_64", "running": release, "running_since": timezone.now()}
    names = [f"{model}-{number}" for number in range(count)]
    devices = Device.objects.bulk_create(
        Device(name=name, token_digest=sha256_hex(name), public_key=sha256_hex(name)[:44], created_by="test", **facts)
        for name in names
    )
    DeviceTelemetry.objects.bulk_create(
        DeviceTelemetry(device=device, project=project, last_seen=timezone.now(), health="healthy")
        for device in devices
    )
    DeviceLabel.objects.bulk_create(
        DeviceLabel(device=device, project=project, kind="tag", key="site", value=f"site {number % 2}")
        for number, device in enumerate(devices)
    )


def hold(number: int) -> None:
    """The gate of the first wave has looked, and could not decide."""
    rollout = Rollout.objects.get(pk=number)
    add_look_to(rollout)
    rollout.waves.filter(position=0).update(verdict="hold", looks=1, state="held", counts={"installed": 4})
    Rollout.objects.filter(pk=number).update(state="held", next_step_at=timezone.now() + timezone.timedelta(hours=1))
