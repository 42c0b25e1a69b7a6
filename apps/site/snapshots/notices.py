"""Who learns that a snapshot is damaged: the system administrators."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import SystemRole
from apps.platform.accounts.models import User
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices, settle_notices
from apps.platform.notices.states import Channel
from apps.site.snapshots.models import Snapshot
from deepseek.messages import Message

DAMAGED = "snapshot.damaged"
DAMAGED_KIND = NoticeKind(
    label=_("Snapshot damaged"),
    description=_("A snapshot was read and is damaged, or cannot be read at all; for system administrators."),
    channels=frozenset({Channel.BELL, Channel.MAIL}),
    system_role=SystemRole.SYSTEM_ADMIN,
)


def notify_damaged(snapshot: Snapshot) -> None:
    """In the transaction that records it."""
    people = User.objects.filter(system_role=SystemRole.SYSTEM_ADMIN, is_active=True)
    message = (
        Message("Snapshot {number} in {destination} is damaged.", number=snapshot.pk, destination=snapshot.destination)
        if snapshot.made_at
        else Message(
            "Snapshot {number} in {destination} cannot be read: nothing is removed from there until it is.",
            number=snapshot.pk,
            destination=snapshot.destination,
        )
    )
    queue_notices(
        kind=DAMAGED,
        message=message,
        path=reverse("snapshots:detail", args=[snapshot.pk]),
        recipients=people.values_list("pk", flat=True),
        subject=snapshot,
    )


def settle_damaged(snapshot: Snapshot) -> None:
    """In the transaction after which it is whole again, or gone."""
    settle_notices(kind=DAMAGED, subject=snapshot)
