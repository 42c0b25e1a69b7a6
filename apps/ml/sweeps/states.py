"""The states of a sweep and of its trials, with every legal move between them."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class SweepState(models.TextChoices):
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


S = SweepState
SWEEP_MOVES: dict[str, frozenset[str]] = {
    S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}


class TrialState(models.TextChoices):
    PLANNED = "planned", _("Planned")  # its values are chosen, its job is not queued yet
    RUNNING = "running", _("Running")  # its job has not ended
    SUCCEEDED = "succeeded", _("Succeeded")
    PRUNED = "pruned", _("Pruned")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


T = TrialState
TRIAL_MOVES: dict[str, frozenset[str]] = {
    T.PLANNED: frozenset({T.RUNNING, T.FAILED, T.CANCELLED}),  # failed: its values are none that the kind takes
    T.RUNNING: frozenset({T.SUCCEEDED, T.PRUNED, T.FAILED, T.CANCELLED}),
    T.SUCCEEDED: frozenset(),
    T.PRUNED: frozenset(),
    T.FAILED: frozenset(),
    T.CANCELLED: frozenset(),
}
OPEN_TRIALS = (T.PLANNED, T.RUNNING)
