"""Snapshots and their operations in words."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from apps.core.messages import translate_message
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.states import OperationState

LAMPS = {
    "pending": "queued",
    "stored": "succeeded",
    "damaged": "failed",
    "failed": "failed",
    "removed": "cancelled",
    "queued": "queued",
    "running": "running",
    "succeeded": "succeeded",
}
"""The state by whose colour and sign one of ours is drawn."""


def describe_drill(snapshot: Snapshot) -> str:
    """What the last restore drill of the snapshot came to."""
    state = getattr(snapshot, "drill_state", None)
    if state is None:
        return _("Never tried")
    return _("Passed") if state == OperationState.SUCCEEDED else _("Failed")


def describe_stage(name: str) -> str:
    return {
        "start": _("starting"),
        "database": _("database"),
        "artifacts": _("artifacts"),
        "files": _("files"),
        "verification": _("reading back"),
        "removal": _("removing"),
        "restore": _("restoring"),
    }.get(name, name)


def build_operation_row(operation: SnapshotOperation) -> dict[str, Any]:
    """An operation as a line of a table."""
    progress = operation.progress if operation.state == OperationState.RUNNING else {}
    done, total = progress.get("done", 0), progress.get("total", 0)
    return {
        "operation": operation,
        "label": operation.get_kind_display(),
        "state": LAMPS[operation.state],
        "word": operation.get_state_display(),
        "stage": describe_stage(progress["stage"]) if "stage" in progress else "",
        "done": done,
        "total": total,
        "error": translate_message(operation.error) if operation.error else "",
        "hint": translate_message(operation.error, "hint") if operation.error else "",
        "result": operation.result,
    }
