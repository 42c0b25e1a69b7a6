"""Emergency grants in words."""

from __future__ import annotations

from django.utils.translation import gettext as _

from apps.platform.emergency.models import EmergencyGrant
from apps.platform.emergency.states import EXPIRED, GrantState

STATES = {"requested": "queued", "active": "held", "ended": "cancelled", EXPIRED: "cancelled"}
"""The state by whose colour and sign a status is drawn."""


def describe_status(status: str) -> str:
    return str(GrantState(status).label)


def describe_scope(grant: EmergencyGrant) -> str:
    return grant.project.slug if grant.project else _("Plane")
