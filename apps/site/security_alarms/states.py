"""States of alarms and the legal moves, as data."""

from django.db import models
from django.utils.translation import pgettext_lazy


class AlarmState(models.TextChoices):
    OPEN = "open", pgettext_lazy("security alarm", "Open")
    ACKNOWLEDGED = "acknowledged", pgettext_lazy("security alarm", "Acknowledged")


ALARM_MOVES: dict[str, frozenset[str]] = {
    AlarmState.OPEN: frozenset({AlarmState.ACKNOWLEDGED}),
    AlarmState.ACKNOWLEDGED: frozenset(),
}
