"""That the plane is there, written by its dispatcher; and the deadlines that run on after it was away."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from apps.core.actors import Actor
from apps.core.policy import require
from apps.fleet.devices.models import Assignment, Device, Presence
from apps.fleet.devices.states import OFFERED
from apps.platform.audit.services import record

BEAT = timedelta(seconds=15)
SHORTEST_ABSENCE = timedelta(minutes=5)
"""A dispatcher that is restarted is not away: devices ask every minute, and again when they were not answered."""


def note_presence(*, actor: Actor, now: datetime) -> None:
    """Write that the plane is there. After an absence the deadlines of open assignments are moved by its length, once:
    whoever finds it first writes both in one transaction."""
    require(actor, "device.expire_assignments")
    newest = Presence.objects.order_by("-until").first()
    if newest is not None and abs(now - newest.until) < BEAT:
        return
    with transaction.atomic():
        list(Presence.objects.select_for_update().order_by("-until").values_list("pk")[:1])
        last = Presence.objects.order_by("-until").first()  # which another process may have written meanwhile
        if last is None:
            Presence.objects.create(began_at=now, until=now)
        elif now - last.until < SHORTEST_ABSENCE:  # or the clock was set back
            Presence.objects.filter(pk=last.pk).update(until=now, began_at=min(last.began_at, now))
        else:
            Presence.objects.create(began_at=now, until=now)
            extend_deadlines(actor, last.until, now)


def extend_deadlines(actor: Actor, left: datetime, back: datetime) -> None:
    """Move the deadlines that ran while nobody could hear a device."""
    rows = Assignment.objects.filter(state__in=OFFERED, deadline__isnull=False, created_at__lte=left + BEAT)
    Device.objects.filter(pk__in=rows.values("device")).update(generation=F("generation") + 1)
    count = rows.update(deadline=F("deadline") + (back - left))
    seconds = round((back - left).total_seconds())
    after = {"away_from": left.isoformat(), "away_seconds": seconds, "assignments": count}
    record(actor=actor, action="device.extend_deadlines", object_type="assignment", after=after)
