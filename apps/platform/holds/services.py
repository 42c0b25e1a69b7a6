"""Every write of holds. The auditor decides; who does the work cannot, in either direction."""

from __future__ import annotations

from contextlib import suppress

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.holds.models import Hold
from apps.platform.holds.objects import HOLD_OBJECTS
from deepseek.messages import N_, Message

PROJECT_TYPE = "project"
MAX_REASON_LENGTH = 2000  # characters


def place_hold(*, actor: Actor, project: Project, object_type: str, object_id: str = "", reason: str) -> Hold:
    """Hold one object of `project`, or with the type "project" all of it: nothing deletes it for good until released.

    Raises Invalid for a type that nothing holds or without a reason, NotFound for an object that the project does not
    have, Conflict (`held_already`).
    """
    policy.require(actor, "hold.place", project)
    require_confirmed(actor, "hold.place", project_id=project.pk)
    reason = validate_reason(reason)
    try:
        with transaction.atomic():
            object_id = lock_object(project, object_type, object_id)
            hold = Hold.objects.create(
                project=project,
                object_type=object_type,
                object_id=object_id,
                reason=reason,
                placed_by=actor.label[:200],
            )
            after = {"object_type": object_type, "object_id": object_id}
            audit.record(actor=actor, action="hold.place", obj=hold, reason=reason, after=after)
            audit.seal_now()
    except IntegrityError:
        raise Conflict(
            "The {kind} {number} is held already.",
            kind=object_type,
            number=object_id,
            code="held_already",
            field="object_id",
            hint=N_("Release that hold first, or leave it."),
        ) from None
    return hold


def release_hold(*, actor: Actor, hold: Hold, reason: str) -> Hold:
    """End a hold; its row stays. Raises Conflict (`hold_released`) for one that has ended, Invalid without a reason."""
    policy.require(actor, "hold.release", hold)
    require_confirmed(actor, "hold.release", project_id=hold.project_id)
    reason = validate_reason(reason)
    ended = {"released_at": timezone.now(), "released_by": actor.label[:200], "release_reason": reason}
    with transaction.atomic():
        if not Hold.objects.filter(pk=hold.pk, released_at=None).update(**ended):
            raise Conflict("The hold has been released.", code="hold_released", field="hold")
        target = {"object_type": hold.object_type, "object_id": hold.object_id}
        audit.record(actor=actor, action="hold.release", obj=hold, reason=reason, before=target)
        audit.seal_now()
    hold.refresh_from_db()
    return hold


def validate_reason(reason: str) -> str:
    text = reason.replace("\x00", "").strip()
    if not text or len(text) > MAX_REASON_LENGTH:
        raise Invalid(
            Message("Say why.") if not text else Message("reason has {count} characters.", count=len(text)),
            field="reason",
            limit=f"1 to {MAX_REASON_LENGTH} characters",
            hint=N_("It stands in the audit trail, and is shown to whoever is refused."),
        )
    return text


def lock_object(project: Project, object_type: str, object_id: str) -> str:
    """The id as rows keep it, of an object that is there until the transaction ends.

    Whoever deletes for good asks for holds behind this lock: either finds the hold, or this finds no object.
    """
    if object_type == PROJECT_TYPE:
        if object_id:
            raise Invalid("A hold on the whole project names no object.", field="object_id", limit="empty")
        return ""
    target = HOLD_OBJECTS.get(object_type)
    if target is None:
        raise Invalid(
            "{kind!r} is nothing that can be held.",
            kind=object_type[:40],
            field="object_type",
            limit=", ".join([PROJECT_TYPE, *HOLD_OBJECTS]),
        )
    key = None
    if "\x00" not in object_id:  # PostgreSQL cannot even be asked for that
        rows = target.query_rows(project).select_for_update(of=("self",), no_key=True)
        with suppress(ValueError, OverflowError):
            key = rows.only("pk").filter(pk=object_id).first()
    if key is None:
        raise NotFound(
            "The project has no {kind} {number!r}.", kind=object_type, number=object_id[:80], field="object_id"
        )
    return str(key.pk)
