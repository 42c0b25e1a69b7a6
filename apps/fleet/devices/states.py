"""The states of devices and of their assignments, with every legal move, and what else a device can be."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class DeviceState(models.TextChoices):
    ACTIVE = "active", _("Active")
    QUARANTINED = "quarantined", _("Quarantined")  # it may report, and gets nothing
    REVOKED = "revoked", _("Revoked")  # for good: its token opens nothing, its name is free again


D = DeviceState
DEVICE_MOVES: dict[str, frozenset[str]] = {
    D.ACTIVE: frozenset({D.QUARANTINED, D.REVOKED}),
    D.QUARANTINED: frozenset({D.ACTIVE, D.REVOKED}),
    D.REVOKED: frozenset(),
}


class AssignmentState(models.TextChoices):
    WAITING = "waiting", _("Waiting")  # for the end of the one before it
    ASSIGNED = "assigned", _("Assigned")  # the device is given it, and has not ended it
    CANCELLING = "cancelling", _("Cancelling")  # the device is told to stop
    SUCCEEDED = "succeeded", _("Succeeded")  # a receipt came from the running release
    FAILED = "failed", _("Failed")
    ROLLED_BACK = "rolled_back", _("Rolled back")  # the device runs the release before it
    CANCELLED = "cancelled", _("Cancelled")
    SUPERSEDED = "superseded", _("Superseded")  # another release was assigned before it ended


A = AssignmentState
OFFERED = (A.ASSIGNED, A.CANCELLING)
OPEN = (A.WAITING, *OFFERED)
# A receipt is stronger than what was taken to have happened: it moves from every state to `succeeded`.
ASSIGNMENT_MOVES: dict[str, frozenset[str]] = {
    A.WAITING: frozenset({A.ASSIGNED, A.SUCCEEDED, A.CANCELLED, A.SUPERSEDED}),
    A.ASSIGNED: frozenset({A.CANCELLING, A.SUCCEEDED, A.FAILED, A.ROLLED_BACK, A.CANCELLED, A.SUPERSEDED}),
    A.CANCELLING: frozenset({A.ASSIGNED, A.SUCCEEDED, A.FAILED, A.ROLLED_BACK, A.CANCELLED, A.SUPERSEDED}),
    A.SUCCEEDED: frozenset({A.ROLLED_BACK}),
    A.FAILED: frozenset({A.SUCCEEDED, A.ROLLED_BACK}),
    A.ROLLED_BACK: frozenset({A.SUCCEEDED}),
    A.CANCELLED: frozenset({A.SUCCEEDED}),
    A.SUPERSEDED: frozenset({A.SUCCEEDED}),
}


class DeviceKind(models.TextChoices):
    AGENT = "agent", _("Agent")  # has a key, and signs what it runs
    HAWKBIT = "hawkbit", _("hawkBit client")  # a stock client without a key, whose word is taken


class Architecture(models.TextChoices):
    X86_64 = "x86_64", "x86-64"
    AARCH64 = "aarch64", "aarch64"


class Health(models.TextChoices):
    HEALTHY = "healthy", _("Healthy")
    FAILING = "failing", _("Failing")
    UNKNOWN = "unknown", _("Unknown")
