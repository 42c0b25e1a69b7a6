"""The states of monitors and alarms, and the words of a monitor's rule."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class MonitorState(models.TextChoices):
    ACTIVE = "active", _("Active")
    PAUSED = "paused", _("Paused")


MONITOR_MOVES: dict[str, frozenset[str]] = {
    MonitorState.ACTIVE: frozenset({MonitorState.PAUSED}),
    MonitorState.PAUSED: frozenset({MonitorState.ACTIVE}),
}


class AlarmState(models.TextChoices):
    OPEN = "open", pgettext_lazy("alarm", "Open")
    ACKNOWLEDGED = "acknowledged", _("Acknowledged")  # a person has read it, and says why it is so
    CLOSED = "closed", pgettext_lazy("alarm", "Closed")


ALARM_MOVES: dict[str, frozenset[str]] = {
    AlarmState.OPEN: frozenset({AlarmState.ACKNOWLEDGED}),
    AlarmState.ACKNOWLEDGED: frozenset({AlarmState.CLOSED}),
    AlarmState.CLOSED: frozenset(),
}


class Cause(models.TextChoices):
    """Why an alarm was opened; of each cause a monitor has one open alarm at most."""

    DROP = "drop", _("Metric beyond its line")
    SILENCE = "silence", _("Silence")
    INPUTS = "inputs", _("Input drift")
    ERRORS = "errors", _("Errors have risen")  # ADWIN on the stream of errors
    RISK = "risk", _("Risk beyond its line")  # its bound holds at all times at once


class Measure(models.TextChoices):
    """What a monitor computes of a window, from figures of hours alone."""

    ACCURACY = "accuracy", _("Accuracy")
    F1 = "f1", _("Macro F1")
    ERROR = "error", _("Mean absolute error")


class Rule(models.TextChoices):
    """How the limit is read: 0.05 of the reference, or 0.05 from it."""

    RELATIVE = "relative", _("Share of the reference")
    ABSOLUTE = "absolute", _("Distance from the reference")


class Certainty(models.TextChoices):
    """What has to lie beyond the line."""

    VALUE = "value", _("The value")
    INTERVAL = "interval", _("The whole interval of 95 %")


class Verdict(models.TextChoices):
    """What became of one window."""

    GOOD = "good", _("Good")
    WORSE = "worse", _("Worse")  # beyond the line
    FEW = "few", _("Too few labels")
    NO_REFERENCE = "no_reference", _("No reference")  # the version that answered records no such metric


class Correction(models.TextChoices):
    """How p-values of many features are corrected."""

    HOLM = "holm", _("Holm: any false alarm")
    BENJAMINI_HOCHBERG = "benjamini_hochberg", _("Benjamini-Hochberg: share of false ones")


class DriftVerdict(models.TextChoices):
    """What became of the features of one window; of one feature likewise."""

    STABLE = "stable", pgettext_lazy("drift", "stable")
    MOVED = "moved", pgettext_lazy("drift", "moved")
    CHANGED = "changed", pgettext_lazy("drift", "changed")
    UNKNOWN = "unknown", pgettext_lazy("drift", "unknown")  # too few rows, or no reference
