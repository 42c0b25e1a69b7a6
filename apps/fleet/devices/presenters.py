"""Shapes for the pages of devices."""

from __future__ import annotations

import shlex
from base64 import b64decode
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from django.db.models import prefetch_related_objects
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.fleet.devices.models import Assignment, Device, DeviceTelemetry, EnrolmentToken, LabelKind
from apps.fleet.devices.queries import count_by_release, count_by_state, get_offline_after
from apps.fleet.devices.states import OPEN, AssignmentState, DeviceState, Health
from apps.fleet.releases.models import Release
from apps.platform.accounts.models import Project

Row = dict[str, Any]
SHOWN_TAGS = 4  # in a row of the list
SHOWN_RELEASES = 8  # of those that devices run
SHOWN_ASSIGNMENTS = 20
SHOWN_EVENTS = 10
STEP_WORDS = {
    "downloading": gettext_lazy("Downloading"),
    "verifying": gettext_lazy("Verifying"),
    "installing": gettext_lazy("Installing"),
    "checking": gettext_lazy("Checking its answers"),
    "switching": gettext_lazy("Switching over"),
}


def summarize_devices(devices: Sequence[Device]) -> list[Row]:
    """The rows of a page, with tags and what each says of itself; one query more."""
    prefetch_related_objects(list(devices), "labels")
    return [summarize_device(device) for device in devices]


def summarize_device(device: Device) -> Row:
    tags = list_labels(device, LabelKind.TAG)
    telemetry = read_telemetry(device)
    return {
        "device": device,
        "health": telemetry.health,
        "runs": describe_release(device.running) if device.running else "",
        "last_seen": telemetry.last_seen,
        "is_online": is_online(telemetry),
        "tags": [f"{key}={value}" if value else key for key, value in tags[:SHOWN_TAGS]],
        "more_tags": max(0, len(tags) - SHOWN_TAGS),
        "tags_text": " ".join(f"{key}={value}" if value else key for key, value in tags),
    }


def list_labels(device: Device, kind: LabelKind) -> list[tuple[str, str]]:
    """(key, value) in the order of keys; from what was prefetched, where it was."""
    return sorted((label.key, label.value) for label in device.labels.all() if label.kind == kind)


def read_telemetry(device: Device) -> DeviceTelemetry:
    """What the device said last; an empty row of one that never spoke."""
    telemetry = getattr(device, "telemetry", None)
    return telemetry or DeviceTelemetry(device=device, project_id=device.project_id, health=Health.UNKNOWN)


def is_online(telemetry: DeviceTelemetry) -> bool:
    last_seen = telemetry.last_seen
    return last_seen is not None and timezone.now() - last_seen < get_offline_after()


def summarize_counts(project: Project) -> Row:
    """How many devices there are in each state, from the few rows that count them."""
    counts = count_by_state(project)
    return {
        "active": counts[DeviceState.ACTIVE],
        "quarantined": counts[DeviceState.QUARANTINED],
        "revoked": counts[DeviceState.REVOKED],
        "enrolled": counts[DeviceState.ACTIVE] + counts[DeviceState.QUARANTINED],
    }


def summarize_running(project: Project) -> list[Row]:
    """The releases that most active devices run, by their receipts; the last row is of devices without one."""
    counts = {int(release): devices for release, devices in count_by_release(project).items()}
    without = counts.pop(0, 0)
    if not counts:
        return []
    most = sorted(counts, key=lambda release: (-counts[release], -release))[:SHOWN_RELEASES]
    releases = Release.objects.select_related("variant__version").in_bulk(most)
    rows = [
        {
            "release": releases[key],
            "words": f"{describe_release(releases[key])} #{releases[key].sequence}",
            "query": f"?running={key}",
            "devices": counts[key],
        }
        for key in most
        if key in releases
    ]
    rest = sum(devices for key, devices in counts.items() if key not in most)
    if rest:
        rows.append({"release": None, "words": _("Other releases"), "devices": rest})
    if without:
        rows.append({"release": None, "words": _("Nothing yet"), "devices": without})
    return rows


def describe_release(release: Release) -> str:
    """wti-forecaster v3 int8; needs the variant and its version."""
    return f"{release.model_name} v{release.variant.version.number} {release.variant.name}"


def describe_device(device: Device) -> Row:
    """What its page shows beside its own fields."""
    telemetry = read_telemetry(device)
    return {
        "telemetry": telemetry,
        "is_online": is_online(telemetry),
        "running": describe_release(device.running) if device.running else "",
        "fingerprint": sha256(b64decode(device.public_key)).hexdigest() if device.public_key else "",
        "attributes": list_labels(device, LabelKind.ATTRIBUTE),
        "metrics": sorted(telemetry.metrics.items()),
    }


def summarize_assignments(device: Device, *, may_cancel: bool) -> Row:
    """The newest assignments of a device, and the last steps of the newest."""
    rows = device.assignments.select_related("release__variant__version").order_by("-pk")[:SHOWN_ASSIGNMENTS]
    assignments = [
        {
            "assignment": row,
            "release": f"{describe_release(row.release)} #{row.release.sequence}",
            "step": describe_step(row),
            "message": row.message or row.code,
            "may_cancel": may_cancel and row.state in OPEN,
        }
        for row in rows
    ]
    steps: list[Row] = []
    if assignments:
        newest: Assignment = assignments[0]["assignment"]
        events = list(newest.events.order_by("-pk")[:SHOWN_EVENTS])
        steps = [
            {
                "at": event.at,
                "words": STEP_WORDS.get(event.step) or AssignmentState(event.step).label,
                "code": event.code,
                "message": event.message,
            }
            for event in reversed(events)
        ]
    return {"assignments": assignments, "steps": steps}


def describe_step(assignment: Assignment) -> str:
    """The step under way and how far it has come; "" of what has ended."""
    if assignment.state not in OPEN or assignment.step not in STEP_WORDS:
        return ""
    words = str(STEP_WORDS[assignment.step])
    return words if assignment.progress is None else f"{words} {assignment.progress:.0%}"


def summarize_tokens(tokens: Sequence[EnrolmentToken]) -> list[Row]:
    return [
        {"token": token, "state": describe_token_state(token), "uses": f"{token.uses:,} / {token.max_uses:,}"}
        for token in tokens
    ]


def describe_token_state(token: EnrolmentToken) -> str:
    if token.revoked_at:
        return "revoked"
    if token.expires_at <= timezone.now():
        return "expired"
    return "used" if token.uses >= token.max_uses else "usable"


def build_enrol_command(plane: str) -> str:
    """What a person runs on the device. The token stays in a file: a history and a list of processes show commands."""
    words = ["deepseek", "agent", "--plane", plane, "--enrol", "@enrol.token", "--home", "/var/lib/deepseek-agent"]
    return shlex.join(words)
