"""What is remembered of a stock client: whether its attributes are wanted, and what it says that it has installed."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.fleet.devices.models import Device
from apps.gateways.hawkbit.models import ClientState


def want_attributes(*, actor: Actor, device: Device) -> None:
    """Ask for the attributes with the next poll: an update may have changed them."""
    policy.require(actor, "device.report", device)
    ClientState.objects.filter(pk=device.pk).update(attributes_wanted=True)


def settle_attributes(*, actor: Actor, device: Device) -> None:
    """The device has sent its attributes."""
    policy.require(actor, "device.report", device)
    ClientState.objects.update_or_create(device=device, defaults={"attributes_wanted": False})


def record_installed(*, actor: Actor, device: Device, name: str, version: str) -> bool:
    """Keep what the device says that it has installed, which decides nothing; whether that is news."""
    policy.require(actor, "device.report", device)
    values = {"installed_name": name, "installed_version": version}
    if ClientState.objects.filter(pk=device.pk, **values).exists():
        return False
    ClientState.objects.update_or_create(device=device, defaults=values)
    return True
