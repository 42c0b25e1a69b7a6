"""The states of a schedule, what became of each of its times, and the rules for late and overlapping ones."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class ScheduleState(models.TextChoices):
    ACTIVE = "active", _("Active")
    PAUSED = "paused", _("Paused")


SCHEDULE_MOVES: dict[str, frozenset[str]] = {
    ScheduleState.ACTIVE: frozenset({ScheduleState.PAUSED}),
    ScheduleState.PAUSED: frozenset({ScheduleState.ACTIVE}),
}


class Outcome(models.TextChoices):
    SUBMITTED = "submitted", _("Submitted")
    SKIPPED = "skipped", pgettext_lazy("schedule", "Skipped")  # what it had submitted before still ran
    MISSED = "missed", pgettext_lazy("schedule", "Missed")  # the plane was not running then
    FAILED = "failed", _("Failed")  # the submission was refused


class Overlap(models.TextChoices):
    """What a schedule does while that which it submitted last has not ended."""

    SKIP = "skip", _("Skip this time")
    ALLOW = "allow", _("Run both")
    CANCEL = "cancel", _("Cancel the former")


class CatchUp(models.TextChoices):
    """What becomes of times that passed while the plane was not running."""

    LAST = "last", _("Run once, for the last of them")
    NONE = "none", _("Report them, and wait for the next")
