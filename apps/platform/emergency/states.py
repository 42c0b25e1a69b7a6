"""States of an emergency grant, and the table of legal moves."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models
from django.utils.translation import gettext_lazy as _


class GrantState(models.TextChoices):
    """Of the row. `EmergencyGrant.status` is `expired` as well, by the clock."""

    REQUESTED = "requested", _("Waits for a second person")
    ACTIVE = "active", _("In force")
    ENDED = "ended", _("Ended")


EXPIRED = "expired"
STATUSES = (*GrantState.values, EXPIRED)
MOVES: Mapping[str, frozenset[str]] = {
    GrantState.REQUESTED: frozenset({GrantState.ACTIVE, GrantState.ENDED}),
    GrantState.ACTIVE: frozenset({GrantState.ENDED}),
    GrantState.ENDED: frozenset(),
}
