"""What a person does with their own notices: mark them as read, choose how they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.policy import require
from apps.platform.accounts.models import User
from apps.platform.audit.services import record
from apps.platform.notices.kinds import NOTICE_KINDS
from apps.platform.notices.models import Notice, NoticePreference
from apps.platform.notices.queries import list_choices
from apps.platform.notices.validation import validate_channel, validate_kind

MAX_MARKED = 200  # by one call


def mark_read(*, actor: Actor, ids: Sequence[int]) -> int:
    """Mark these of the actor's notices as read; how many were not. Ids of others and of read ones change nothing."""
    require(actor, "notice.mark_read")
    with transaction.atomic():
        rows = Notice.objects.visible_to(actor).filter(pk__in=list(ids)[:MAX_MARKED], read_at=None)
        marked = rows.update(read_at=Now())
        if marked:
            record_marking(actor, marked)
    return marked


def mark_all_read(*, actor: Actor) -> int:
    """Mark every notice of the actor as read; how many were not."""
    require(actor, "notice.mark_read")
    with transaction.atomic():
        marked = Notice.objects.visible_to(actor).filter(read_at=None).update(read_at=Now())
        if marked:
            record_marking(actor, marked)
    return marked


def record_marking(actor: Actor, marked: int) -> None:
    record(
        actor=actor,
        action="notice.mark_read",
        object_type="user",
        object_id=actor.user_id or "",
        after={"marked": marked},
    )


def set_notice_preferences(*, actor: Actor, choices: Mapping[str, Mapping[str, bool]]) -> None:
    """Choose channels: {kind: {channel: whether}}; what is left out stays. Invalid for an unknown kind or channel."""
    require(actor, "notice.set_preferences")
    if actor.user_id is None:
        raise NotFound("Only a person has notices.")
    for kind, channels in choices.items():
        validate_kind(kind, f"/{kind}", NOTICE_KINDS)
        for channel in channels:
            validate_channel(channel, f"/{kind}/{channel}")
    with transaction.atomic():
        User.objects.select_for_update().get(pk=actor.user_id)  # two tabs that save at once
        before = list_choices(actor.user_id)
        changed = {
            f"{kind} {channel}": (before[kind][channel], enabled)
            for kind, channels in choices.items()
            for channel, enabled in channels.items()
            if before[kind][channel] != enabled
        }
        for name, (_former, enabled) in changed.items():
            kind, channel = name.split(" ")
            NoticePreference.objects.update_or_create(
                user_id=actor.user_id, kind=kind, channel=channel, defaults={"enabled": enabled}
            )
        if changed:
            record(
                actor=actor,
                action="notice.set_preferences",
                object_type="user",
                object_id=actor.user_id,
                before={name: former for name, (former, _enabled) in changed.items()},
                after={name: enabled for name, (_former, enabled) in changed.items()},
            )
