"""Build the JSON documents of hawkBit's Direct Device Integration API v1 from plain values.

Field names and rules are those of eclipse-hawkbit, as its device API documents them; docs/hawkbit.md lists what is
served. Stock clients follow every `href` as it stands, so all are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_SLEEP_SECONDS = 23 * 3600 + 59 * 60 + 59  # "HH:MM:SS" is a time of day
# hawkBit renames two of its module types for devices.
PARTS = {"application": "bApp", "runtime": "jvm"}


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """A file that a device may download; `href`: the absolute address of its bytes."""

    name: str
    size: int
    sha1: str
    md5: str
    sha256: str
    href: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """One software module of a deployment. rauc-hawkbit-updater refuses more than one, and more than one file in it."""

    part: str
    name: str
    version: str
    files: Sequence[OfferedFile]
    metadata: Mapping[str, str]


def format_sleep(seconds: int) -> str:
    """Seconds between two polls as "HH:MM:SS": at least one second, at most a day less one."""
    hours, rest = divmod(min(max(seconds, 1), MAX_SLEEP_SECONDS), 3600)
    return f"{hours:02}:{rest // 60:02}:{rest % 60:02}"


def build_base(poll_seconds: int, links: Mapping[str, str]) -> dict[str, Any]:
    """What a poll answers: when to poll again, and what there is to do (name of a resource -> its address)."""
    return {
        "config": {"polling": {"sleep": format_sleep(poll_seconds)}},
        "_links": {name: {"href": href} for name, href in links.items()},
    }


def build_artifact(file: OfferedFile) -> dict[str, Any]:
    """One entry of `artifacts`. Clients take `download` for https and `download-http` for the rest."""
    suffix = "" if file.href.startswith("https:") else "-http"
    return {
        "filename": file.name,
        "hashes": {"sha1": file.sha1, "md5": file.md5, "sha256": file.sha256},
        "size": file.size,
        "_links": {
            f"download{suffix}": {"href": file.href},
            f"md5sum{suffix}": {"href": f"{file.href}.MD5SUM"},
        },
    }


def build_chunk(chunk: Chunk) -> dict[str, Any]:
    document: dict[str, Any] = {
        "part": PARTS.get(chunk.part, chunk.part),
        "version": chunk.version,
        "name": chunk.name,
        "artifacts": [build_artifact(file) for file in chunk.files],
    }
    if chunk.metadata:
        document["metadata"] = [{"key": key, "value": value} for key, value in chunk.metadata.items()]
    return document


def build_deployment(
    action_id: int,
    chunks: Sequence[Chunk],
    *,
    is_window_open: bool | None = None,
    history: Sequence[str] | None = None,
    status: str = "",
) -> dict[str, Any]:
    """A deployment (`deploymentBase`, `installedBase`).

    `is_window_open`: whether the maintenance window is open, None where none is defined. Outside of it the device
    downloads and does not install. `history`: messages of the action, newest first, None where they were not wanted.
    """
    deployment: dict[str, Any] = {
        "download": "forced",
        "update": "skip" if is_window_open is False else "forced",
        "chunks": [build_chunk(chunk) for chunk in chunks],
    }
    if is_window_open is not None:
        deployment["maintenanceWindow"] = "available" if is_window_open else "unavailable"
    document: dict[str, Any] = {"id": str(action_id), "deployment": deployment}
    if history is not None:
        document["actionHistory"] = {"status": status, "messages": list(history)}
    return document


def build_cancel_action(action_id: int) -> dict[str, Any]:
    """What a device has to stop. hawkBit gives the cancelling the id of the action itself; both are strings."""
    return {"id": str(action_id), "cancelAction": {"stopId": str(action_id)}}
