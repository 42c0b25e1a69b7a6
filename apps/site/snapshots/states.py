"""States of snapshots and of what is done with them, and the legal moves, as data."""

from django.db import models
from django.utils.translation import pgettext_lazy


class SnapshotState(models.TextChoices):
    PENDING = "pending", pgettext_lazy("snapshot", "Pending")  # asked for, or being written
    STORED = "stored", pgettext_lazy("snapshot", "Stored")  # written and read back
    DAMAGED = "damaged", pgettext_lazy("snapshot", "Damaged")  # a later look found an object damaged or gone
    FAILED = "failed", pgettext_lazy("snapshot", "Failed")
    REMOVED = "removed", pgettext_lazy("snapshot", "Removed")


SNAPSHOT_MOVES: dict[str, frozenset[str]] = {
    SnapshotState.PENDING: frozenset({SnapshotState.STORED, SnapshotState.FAILED}),
    SnapshotState.STORED: frozenset({SnapshotState.DAMAGED, SnapshotState.REMOVED}),
    SnapshotState.DAMAGED: frozenset({SnapshotState.STORED, SnapshotState.REMOVED}),
    SnapshotState.FAILED: frozenset(),
    SnapshotState.REMOVED: frozenset(),
}


class OperationKind(models.TextChoices):
    CREATE = "create", pgettext_lazy("snapshot operation", "Create")
    VERIFY = "verify", pgettext_lazy("snapshot operation", "Verify")
    REMOVE = "remove", pgettext_lazy("snapshot operation", "Remove")
    DRILL = "drill", pgettext_lazy("snapshot operation", "Restore drill")


class OperationState(models.TextChoices):
    QUEUED = "queued", pgettext_lazy("snapshot operation", "Queued")
    RUNNING = "running", pgettext_lazy("snapshot operation", "Running")
    SUCCEEDED = "succeeded", pgettext_lazy("snapshot operation", "Succeeded")
    FAILED = "failed", pgettext_lazy("snapshot operation", "Failed")


OPERATION_MOVES: dict[str, frozenset[str]] = {
    OperationState.QUEUED: frozenset({OperationState.RUNNING, OperationState.FAILED}),
    OperationState.RUNNING: frozenset({OperationState.QUEUED, OperationState.SUCCEEDED, OperationState.FAILED}),
    OperationState.SUCCEEDED: frozenset(),
    OperationState.FAILED: frozenset(),
}
OPEN_STATES = (OperationState.QUEUED, OperationState.RUNNING)
