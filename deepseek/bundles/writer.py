"""A bundle into a folder, volume by volume. Whatever stops it, the same call goes on behind the last whole volume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from deepseek.bundles.errors import TransferError
from deepseek.bundles.spec import (
    MANIFEST_FILE,
    MAX_VOLUME_BYTES,
    MAX_VOLUMES,
    MIN_VOLUME_BYTES,
    BundleHead,
    BundleManifest,
    ObjectRef,
    VolumeRef,
    check_manifest_size,
)
from deepseek.bundles.volumes import Count, OpenObject, plan_volumes, sync_folder, write_volume
from deepseek.job import Report, Silent


def check_volume_bytes(volume_bytes: int) -> None:
    """Raise TransferError ``volume_bytes_out_of_range``."""
    if MIN_VOLUME_BYTES <= volume_bytes <= MAX_VOLUME_BYTES:
        return
    raise TransferError(
        "volume_bytes_out_of_range",
        "A volume of {count} bytes cannot be written.",
        count=volume_bytes,
        field="volume_bytes",
        value=str(volume_bytes),
        limit=f"{MIN_VOLUME_BYTES} to {MAX_VOLUME_BYTES} bytes",
        hint="Take the size of the medium that carries it.",
    )


def write_bundle(
    folder: Path,
    head: BundleHead,
    objects: Sequence[ObjectRef],
    open_object: OpenObject,
    *,
    volume_bytes: int,
    report: Report | None = None,
    count: Count | None = None,
) -> BundleManifest:
    """Write the volumes and, last of all, the manifest; what is there already is kept. `objects`: each once.
    `count` gets the bytes of objects as they are written.

    Raises TransferError ``object_damaged``, ``too_many_volumes``, ``manifest_too_long``, ``volume_bytes_out_of_range``;
    OSError where the disk is full.
    """
    check_volume_bytes(volume_bytes)
    plan = plan_volumes(objects, volume_bytes)
    if len(plan) > MAX_VOLUMES:
        raise TransferError(
            "too_many_volumes",
            "The bundle would have {count} volumes.",
            count=len(plan),
            field="volume_bytes",
            value=str(volume_bytes),
            limit=f"{MAX_VOLUMES} volumes",
            hint="Take larger volumes, or fewer contents.",
        )
    longest = [VolumeRef(number, MAX_VOLUME_BYTES, head.inventory) for number in range(1, len(plan) + 1)]
    check_manifest_size(len(BundleManifest.encode(head, len(objects), longest)))  # before hours of writing
    report = report or Silent()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    volumes = []
    for number, slices in enumerate(plan, 1):
        volumes.append(write_volume(folder, head.id, number, slices, open_object, count))
        report.progress(number, len(plan), "volumes")
    manifest = BundleManifest.build(head, len(objects), volumes)
    write_durably(folder / MANIFEST_FILE, manifest.text)
    return manifest


def write_durably(path: Path, content: bytes) -> None:
    """Put a small file in place, whole or not at all."""
    staged = path.with_name(f".{path.name}.part")
    with open(staged, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staged, path)
    sync_folder(path.parent)
