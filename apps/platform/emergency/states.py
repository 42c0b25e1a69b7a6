"""States of an emergency grant, and the table of legal moves."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models
from django.utils.translation import gettext_lazy as _


class GrantState(models.TextChoices):
    """Of the row. `EmergencyGrant.status` is `expired` from its time on, by the clock; the row within a minute."""

    REQUESTED = "requested", _("Waits for a second person")
    ACTIVE = "active", _("In force")
    ENDED = "ended", _("Ended")
    EXPIRED = "expired", _("Expired")


EXPIRED = GrantState.EXPIRED.value
STATUSES = tuple(GrantState.values)
MOVES: Mapping[str, frozenset[str]] = {
    GrantState.REQUESTED: frozenset({GrantState.ACTIVE, GrantState.ENDED, GrantState.EXPIRED}),
    GrantState.ACTIVE: frozenset({GrantState.ENDED, GrantState.EXPIRED}),
    GrantState.ENDED: frozenset(),
    GrantState.EXPIRED: frozenset(),
}
