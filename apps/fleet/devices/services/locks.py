"""The lock of a device's row, and the number that lets its next poll be answered anew."""

from __future__ import annotations

from django.db.models import F

from apps.fleet.devices.models import Device


def lock_device(device: Device) -> Device:
    """The row, locked: what changes its assignments or its state comes one after the other."""
    return Device.objects.select_for_update(of=("self",)).select_related("project").get(pk=device.pk)


def bump_generation(device: Device) -> None:
    """Let the device's next poll be answered anew."""
    Device.objects.filter(pk=device.pk).update(generation=F("generation") + 1)
    device.generation += 1
