"""The states of a rerun with every legal move between them, and what a verdict may say."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class RerunState(models.TextChoices):
    RUNNING = "running", _("Running")  # its job has not ended, or has not been judged yet
    JUDGED = "judged", _("Compared")
    FAILED = "failed", _("Failed")  # it broke off where the original had not: nothing to judge
    CANCELLED = "cancelled", _("Cancelled")


class Verdict(models.TextChoices):
    IDENTICAL = "identical", _("Identical")
    WITHIN_TOLERANCE = "within_tolerance", _("Within tolerance")
    DIFFERENT = "different", _("Different")
    UNDECIDED = "undecided", _("Undecided")  # of two runs on request alone: more points than one request reads


S = RerunState
MOVES: dict[str, frozenset[str]] = {
    S.RUNNING: frozenset({S.JUDGED, S.FAILED, S.CANCELLED}),
    S.JUDGED: frozenset({S.RUNNING}),  # a person has its failed job tried again: the same rerun goes on
    S.FAILED: frozenset({S.RUNNING}),
    S.CANCELLED: frozenset({S.RUNNING}),
}
