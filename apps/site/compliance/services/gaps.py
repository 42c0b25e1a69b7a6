"""Who closes the gap of a clause, and until when."""

from __future__ import annotations

from datetime import date

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.platform.audit import services as audit
from apps.platform.nodes.services import check_size
from apps.site.compliance.clauses import BY_ID
from apps.site.compliance.models import Gap

MAX_NOTE_LENGTH = 500


def set_gap(*, actor: Actor, clause: str, owner: str, due_on: date | None, note: str = "") -> Gap:
    """Name who closes the gap of a clause, and until when; what stood there before is in the audit trail.

    Raises Invalid with the field.
    """
    policy.require(actor, "compliance.set_gap")
    owner, note = owner.strip(), note.strip()
    if clause not in BY_ID:
        raise Invalid("There is no clause {clause!r}.", clause=clause[:40], field="clause", limit="8.1.4.1.a, ...")
    check_size("owner", owner, 200)
    if len(note) > MAX_NOTE_LENGTH:
        raise Invalid("The note is too long.", field="note", limit=f"{MAX_NOTE_LENGTH} characters")
    if due_on is None or due_on < timezone.localdate():
        raise Invalid("Give the day until which the gap is closed.", field="due_on", limit="today or later")
    with transaction.atomic():
        former = Gap.objects.select_for_update().filter(clause=clause).first()
        before = {"owner": former.owner, "due_on": former.due_on, "note": former.note} if former else None
        values = {"owner": owner, "due_on": due_on, "note": note, "updated_by": actor.label[:200]}
        gap, _ = Gap.objects.update_or_create(clause=clause, defaults=values)
        audit.record(
            actor=actor,
            action="compliance.set_gap",
            obj=gap,
            before=before,
            after={"clause": clause, "owner": owner, "due_on": due_on, "note": note},
        )
    return gap
