"""What the device API of hawkBit needs beyond devices and their assignments."""

from __future__ import annotations

from typing import Any

from django.db import models

from apps.core.actors import Actor
from apps.fleet.devices.models import Device
from apps.fleet.releases.models import Release
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact


class FileHashes(models.Model):
    """SHA-1 and MD5 of the bytes of an artifact, which clients compare. Computed once.

    The digest is no foreign key: this describes the bytes and is no reason to keep them.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    sha1 = models.CharField(max_length=40)
    md5 = models.CharField(max_length=32)

    def __str__(self) -> str:
        return self.digest


class ClientState(models.Model):
    """What is remembered of a stock client between two polls. No row: it was never asked for its attributes."""

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="hawkbit_state")
    attributes_wanted = models.BooleanField(default=True)
    # What it says that it has installed (PUT installedBase); shown, and decides nothing.
    installed_name = models.CharField(max_length=128, blank=True)
    installed_version = models.CharField(max_length=128, blank=True)

    def __str__(self) -> str:
        return str(self.device_id)


class UpdateFileQuerySet(models.QuerySet["UpdateFile"]):
    def visible_to(self, actor: Actor) -> UpdateFileQuerySet:
        return self if actor.plane_role else self.filter(release__project_id__in=actor.project_ids)


class UpdateFile(models.Model):
    """What stock clients get of a release in place of the variant's own file: an archive that the site has built of it
    and signed for its devices, for instance a .swu or a RAUC bundle. Attached once, and never another.

    It is not in the release's signed statement: an approver vouches for it by attaching it.
    """

    release = models.OneToOneField(Release, models.PROTECT, primary_key=True, related_name="update_file")
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    attached_by = models.CharField(max_length=200)
    attached_at = models.DateTimeField(auto_now_add=True)

    objects = UpdateFileQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def project_id(self) -> int:
        return self.release.project_id


class MaintenanceWindowQuerySet(models.QuerySet["MaintenanceWindow"]):
    def visible_to(self, actor: Actor) -> MaintenanceWindowQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class MaintenanceWindow(models.Model):
    """When stock clients of a project may install, every week; without one at any time."""

    project = models.OneToOneField(Project, models.PROTECT, primary_key=True, related_name="+")
    days = models.JSONField()  # of windows.DAYS
    start = models.IntegerField()  # minutes after midnight, by the clock on the wall
    minutes = models.IntegerField()
    time_zone = models.CharField(max_length=60)
    set_by = models.CharField(max_length=200)
    set_at = models.DateTimeField(auto_now=True)

    objects = MaintenanceWindowQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{','.join(self.days)} {self.as_document()['start']}"

    def as_document(self) -> dict[str, Any]:
        """As REST has it, and the audit trail."""
        hours, minutes = divmod(self.start, 60)
        return {
            "days": self.days,
            "start": f"{hours:02}:{minutes:02}",
            "minutes": self.minutes,
            "time_zone": self.time_zone,
        }
