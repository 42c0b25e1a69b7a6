"""What the device API and REST read: the file of a release, a device's attributes, the maintenance window."""

from __future__ import annotations

from typing import NamedTuple

from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.fleet.devices.models import Device, LabelKind
from apps.fleet.releases.models import Release, ReleaseFile
from apps.gateways.hawkbit.models import ClientState, MaintenanceWindow, UpdateFile
from apps.gateways.hawkbit.windows import is_window_open
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from deepseek.messages import N_


class ServedFile(NamedTuple):
    """A file of a release under the name that devices see."""

    name: str
    artifact: Artifact


def get_served_file(release: Release) -> ServedFile:
    """The one file that a stock client gets of this release: the attached one, else the variant's own."""
    update_file = UpdateFile.objects.select_related("artifact").filter(pk=release.pk).first()
    if update_file is not None:
        return ServedFile(update_file.name, update_file.artifact)
    file = ReleaseFile.objects.select_related("artifact").get(release=release, name=release.variant.file)
    return ServedFile(file.name, file.artifact)


def get_update_file(actor: Actor, release: Release) -> UpdateFile:
    policy.require(actor, "release.view", release)
    row = UpdateFile.objects.visible_to(actor).select_related("artifact", "release").filter(pk=release.pk).first()
    if row is None:
        raise NotFound("No update file is attached to this release.", hint=N_("Stock clients get the variant's file."))
    return row


def are_attributes_wanted(device: Device) -> bool:
    """With the first contact, and after each success until the device has sent them."""
    state: ClientState | None = getattr(device, "hawkbit_state", None)  # no row: it was never asked
    return state is None or state.attributes_wanted


def read_attributes(device: Device) -> dict[str, str]:
    return dict(device.labels.filter(kind=LabelKind.ATTRIBUTE).values_list("key", "value"))


def get_window(actor: Actor, project: Project) -> MaintenanceWindow:
    policy.require(actor, "device.view", project)
    window = MaintenanceWindow.objects.visible_to(actor).filter(pk=project.pk).first()
    if window is None:
        raise NotFound("This project has no maintenance window.", hint=N_("Stock clients install at any time."))
    return window


def is_maintenance_open(project_id: int) -> bool | None:
    """Whether stock clients of the project may install now; None where it has no window."""
    window = MaintenanceWindow.objects.filter(pk=project_id).first()
    if window is None:
        return None
    return is_window_open(
        timezone.now(), days=window.days, start=window.start, minutes=window.minutes, time_zone=window.time_zone
    )
