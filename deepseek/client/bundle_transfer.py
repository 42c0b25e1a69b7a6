"""Bundles between a plane and a folder: downloaded volume by volume, and sent the same way; what is there stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepseek.bundles.errors import TransferError
from deepseek.bundles.spec import MANIFEST_FILE, BundleManifest, VolumeRef
from deepseek.bundles.verification import build_unsigned_error, read_envelope, read_manifest
from deepseek.bundles.volumes import verify_volume
from deepseek.bundles.writer import write_durably
from deepseek.client.errors import ClientError

CHUNK_BYTES = 1 << 20
POLL_SECONDS = 1.0
Tell = Callable[[str], None]


def wait_for_state(plane: Any, path: str, waiting: tuple[str, ...], seconds: float, tell: Tell) -> dict[str, Any]:
    """The row once it has left these states; why its step is tried again later is announced once. Raises ClientError
    ``still_waiting``, or the plane's own error."""
    deadline, announced = time.monotonic() + seconds, ""
    while True:
        row: dict[str, Any] = plane.get(path)
        if row["state"] not in waiting:
            break
        if row["retry_at"] and row["retry_at"] != announced:
            announced = row["retry_at"]
            tell(f"{row['error']['message']} Next try: {announced}")
        if time.monotonic() >= deadline:
            raise ClientError(
                "still_waiting",
                f"The bundle is {row['state']} after {seconds:.0f} s.",
                field="--wait",
                value=row["state"],
                hint="It goes on there: run the same command again.",
            )
        time.sleep(POLL_SECONDS)
    if row["error"]:
        error = row["error"]
        raise ClientError(
            error["code"], error["message"], field=error.get("field"), limit=error.get("limit"), hint=error.get("hint")
        )
    return row


def download_bundle(plane: Any, number: int, folder: Path, tell: Tell) -> BundleManifest:
    """Every file of a built bundle into `folder`. A volume that is there and verifies is not sent again."""
    base = f"/bundles/{number}"
    folder.mkdir(parents=True, exist_ok=True)
    with plane.transport.stream(plane.build_path(f"{base}/manifest")) as answer:
        manifest = BundleManifest.parse(b"".join(answer.iter_bytes(CHUNK_BYTES)))
    for volume in manifest.volumes:
        if is_verified(folder / volume.name, volume, manifest):
            tell(f"{volume.name} is here")
            continue
        download_volume(plane, f"{base}/volumes/{volume.number}", folder / volume.name)
        verify_volume(folder / volume.name, volume, manifest.head.id)
        tell(f"{volume.name} {volume.size / 1e6:,.1f} MB")
    write_durably(folder / MANIFEST_FILE, manifest.text)
    return manifest


def is_verified(path: Path, volume: VolumeRef, manifest: BundleManifest) -> bool:
    try:
        verify_volume(path, volume, manifest.head.id)
    except TransferError:
        return False
    return True


def download_volume(plane: Any, path: str, target: Path) -> None:
    staged = target.with_name(f".{target.name}.part")
    try:
        with open(staged, "wb") as file, plane.transport.stream(plane.build_path(path)) as answer:
            for chunk in answer.iter_bytes(CHUNK_BYTES):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, target)
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()


def send_bundle(plane: Any, folder: Path, tell: Tell) -> dict[str, Any]:
    """The signatures, then every volume that the plane lacks, then its check is asked for. Returns the plane's row."""
    manifest, envelope = read_manifest(folder), read_envelope(folder)
    if envelope is None:
        raise build_unsigned_error()
    row: dict[str, Any] = find_received(plane, manifest.digest) or plane.post(
        "/received-bundles", envelope.to_document()
    )
    path = f"/received-bundles/{row['id']}"
    row = plane.get(path)
    for number in row["missing"]:
        volume = manifest.get_volume(number)
        verify_volume(folder / volume.name, volume, manifest.head.id)
        send_volume(plane, f"{path}/volumes/{number}", folder / volume.name)
        tell(f"{volume.name} {volume.size / 1e6:,.1f} MB")
    if row["state"] in ("receiving", "refused"):
        row = plane.post(f"{path}/check")
    return row


def find_received(plane: Any, digest: str) -> dict[str, Any] | None:
    """The row of a bundle that began to come in before."""
    rows = plane.iterate("/received-bundles")
    return next((row for row in rows if row["manifest_digest"] == digest and row["state"] != "discarded"), None)


def send_volume(plane: Any, path: str, file: Path) -> None:
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
    plane.call("PUT", path, content=lambda: iter_file(file), headers=headers)


def iter_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
