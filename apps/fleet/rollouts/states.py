"""The states of rollouts, of their waves and of the devices in them, with every legal move."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RolloutState(models.TextChoices):
    DRAFT = "draft", _("Draft")
    AWAITING_APPROVAL = "awaiting_approval", _("Awaiting approval")  # before the first wave
    APPROVED = "approved", _("Approved")  # waits for its start, or for another rollout of its devices to end
    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")  # nothing is assigned; gates go on, and may roll back
    HELD = "held", _("On hold")  # a gate could not decide: people have to
    AWAITING_DECISION = "awaiting_decision", _("Awaiting decision")  # an approval of the next wave is requested
    ROLLING_BACK = "rolling_back", _("Rolling back")
    ROLLED_BACK = "rolled_back", _("Rolled back")
    COMPLETED = "completed", _("Completed")
    ABORTED = "aborted", _("Aborted")  # devices that have the version keep it


R = RolloutState
OPEN = (R.RUNNING, R.PAUSED, R.HELD, R.AWAITING_DECISION)
"""Devices belong to the rollout, and its gates are evaluated."""
ROLLOUT_MOVES: dict[str, frozenset[str]] = {
    R.DRAFT: frozenset({R.AWAITING_APPROVAL, R.ABORTED}),
    R.AWAITING_APPROVAL: frozenset({R.DRAFT, R.APPROVED, R.ABORTED}),
    R.APPROVED: frozenset({R.DRAFT, R.RUNNING, R.ABORTED}),
    R.RUNNING: frozenset({R.PAUSED, R.HELD, R.AWAITING_DECISION, R.COMPLETED, R.ROLLING_BACK, R.ABORTED}),
    R.PAUSED: frozenset({R.RUNNING, R.HELD, R.ROLLING_BACK, R.ABORTED}),
    R.HELD: frozenset({R.RUNNING, R.AWAITING_DECISION, R.ROLLING_BACK, R.ABORTED}),
    R.AWAITING_DECISION: frozenset({R.RUNNING, R.HELD, R.COMPLETED, R.ROLLING_BACK, R.ABORTED}),
    R.ROLLING_BACK: frozenset({R.ROLLED_BACK}),
    R.ROLLED_BACK: frozenset(),
    R.COMPLETED: frozenset({R.ROLLING_BACK}),
    R.ABORTED: frozenset({R.ROLLING_BACK}),
}


class WaveState(models.TextChoices):
    PENDING = "pending", _("Pending")
    RUNNING = "running", _("Running")
    HELD = "held", _("On hold")
    PASSED = "passed", _("Passed")
    STOPPED = "stopped", _("Stopped")  # the rollout was aborted or rolled back


W = WaveState
WAVE_MOVES: dict[str, frozenset[str]] = {
    W.PENDING: frozenset({W.RUNNING, W.STOPPED}),
    W.RUNNING: frozenset({W.HELD, W.PASSED, W.STOPPED}),
    W.HELD: frozenset({W.PASSED, W.STOPPED}),
    W.PASSED: frozenset({W.STOPPED}),
    W.STOPPED: frozenset(),
}


class Stage(models.TextChoices):
    """How far a device is in a rollout; it follows from its assignments."""

    PLANNED = "planned", _("Planned")
    ASSIGNED = "assigned", _("Assigned")
    INSTALLED = "installed", _("Installed")  # by receipt
    FAILED = "failed", _("Failed")
    SKIPPED = "skipped", _("Skipped")  # it takes no assignment any more: revoked, quarantined, on another release
    RETURNING = "returning", _("Returning")  # the previous version is assigned
    RETURNED = "returned", _("Returned")
    STRANDED = "stranded", _("Not returned")  # there was nothing before, or going back failed


UNSETTLED = (Stage.PLANNED, Stage.ASSIGNED)


class Verdict(models.TextChoices):
    GO_ON = "go_on", _("Go on")
    HOLD = "hold", _("Hold")
    ROLL_BACK = "roll_back", _("Roll back")
