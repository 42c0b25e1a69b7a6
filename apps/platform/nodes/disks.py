"""The disks that the plane fills on a host, and whether one of them is short of room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from apps.platform.nodes.hardware import get_disk_space

FULL_BYTES = 2**20  # with less than this a database writes nothing more


@dataclass(frozen=True, slots=True)
class Disk:
    """Free space of the file system under one of the plane's folders; `name`: home, store or scratch."""

    name: str
    free_bytes: int
    total_bytes: int

    @property
    def needed_bytes(self) -> int:
        """Free bytes below which the disk is short: the smaller of DISK_SHORT_BYTES and DISK_SHORT_PERCENT."""
        share = self.total_bytes * settings.ENV.disk_short_percent / 100
        return int(min(settings.ENV.disk_short_bytes, share))

    @property
    def is_short(self) -> bool:
        return self.free_bytes < self.needed_bytes

    @property
    def is_full(self) -> bool:
        return self.free_bytes < FULL_BYTES

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "free_bytes": self.free_bytes, "needed_bytes": self.needed_bytes}


def read_disk(name: str, folder: Path) -> Disk:
    """The file system of `folder`, or of the nearest folder above it that exists."""
    total, free = get_disk_space(folder)
    return Disk(name, free, total)


def render_size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def describe_short_disks(disks: Iterable[Mapping[str, Any]]) -> str:
    """What disks that are too short for another job have free, and what they would need; "" for none."""
    parts = [
        _("%(free)s free for %(disk)s, %(needed)s needed")
        % {
            "free": render_size(disk["free_bytes"]),
            "disk": _("the store") if disk["name"] == "store" else _("scratch"),
            "needed": render_size(disk["needed_bytes"]),
        }
        for disk in disks
    ]
    return "; ".join(parts)


def find_short_disks(load: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a worker's load: the disks that are too short for another job."""
    disks = [
        Disk(name, load[f"{key}_free_bytes"], load[f"{key}_total_bytes"])
        for name, key in (("scratch", "disk"), ("store", "store"))
        if load.get(f"{key}_total_bytes")
    ]
    return [disk.as_dict() for disk in disks if disk.is_short]
