"""Tags and attributes of devices. Called under the lock of the device's row."""

from __future__ import annotations

from collections.abc import Mapping

from apps.fleet.devices.models import Device, DeviceLabel, LabelKind


def read_labels(device: Device, kind: LabelKind) -> dict[str, str]:
    return dict(device.labels.filter(kind=kind).order_by("key").values_list("key", "value"))


def set_labels(device: Device, kind: LabelKind, labels: Mapping[str, str]) -> dict[str, str]:
    """Let the device have these and no others of the kind; returns what it had."""
    before = read_labels(device, kind)
    changed = {key: value for key, value in labels.items() if before.get(key) != value}
    gone = [key for key in before if key not in labels or key in changed]
    if gone:
        device.labels.filter(kind=kind, key__in=gone).delete()
    add_labels(device, kind, changed)
    return before


def add_labels(device: Device, kind: LabelKind, labels: Mapping[str, str]) -> None:
    """Write labels whose keys the device does not have."""
    DeviceLabel.objects.bulk_create(
        DeviceLabel(device=device, project_id=device.project_id, kind=kind, key=key, value=value)
        for key, value in labels.items()
    )
