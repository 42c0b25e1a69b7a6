"""Documents of the deployment that people attach to clauses: stored by digest, dated, owned, and with an end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound, PlaneError
from apps.platform.artifacts.services import adopt_for_plane, store_for_plane
from apps.platform.audit import services as audit
from apps.platform.nodes.services import check_size
from apps.site.compliance.clauses import BY_ID, Clause
from apps.site.compliance.models import Attachment
from deepseek.messages import N_

MAX_DOCUMENT_BYTES = 20 << 20
MAX_DAYS = 731
"""A document is good for two years at most: what nobody looked at for longer proves nothing about today."""


def attach_document(
    *,
    actor: Actor,
    clause: str,
    title: str,
    owner: str,
    dated_on: date | None,
    expires_on: date | None,
    file_name: str,
    content: Iterable[bytes],
) -> Attachment:
    """Attach a document to a clause. Raises Invalid with every wrong field; nothing is stored then."""
    policy.require(actor, "compliance.attach")
    title, owner, file_name = title.strip(), owner.strip(), file_name.strip().rpartition("/")[2]
    first, last = check_document(clause, title, owner, dated_on, expires_on, file_name)
    data = read_document(content)
    stored = store_for_plane(actor=actor, stream=[data])
    with transaction.atomic():
        row = Attachment.objects.create(
            clause=clause,
            title=title,
            owner=owner,
            dated_on=first,
            expires_on=last,
            file_name=file_name,
            artifact=adopt_for_plane(actor=actor, stored=stored),
            attached_by=actor.label[:200],
        )
        audit.record(
            actor=actor,
            action="compliance.attach",
            obj=row,
            after={"clause": clause, "title": title, "owner": owner, "dated_on": dated_on, "expires_on": expires_on},
            digests={"file": stored.digest},
        )
    return row


def check_document(
    clause: str, title: str, owner: str, dated_on: date | None, expires_on: date | None, file_name: str
) -> tuple[date, date]:
    """The first and the last day of the document. Raises Invalid with every fault."""
    faults: list[PlaneError] = []
    try:
        get_document_clause(clause)
    except Invalid as fault:
        faults.append(fault)
    for name, value in (("title", title), ("owner", owner), ("file", file_name)):
        try:
            check_size(name, value, 200)
        except Invalid as fault:
            faults.append(fault)
    today = timezone.localdate()
    if dated_on is None or dated_on > today:
        faults.append(Invalid("Give the day of the document.", field="dated_on", limit=f"up to {today}"))
    if expires_on is None or (dated_on is not None and not dated_on < expires_on <= dated_on + timedelta(MAX_DAYS)):
        faults.append(
            Invalid("Give the day on which it ends.", field="expires_on", limit=f"1 to {MAX_DAYS} days after its date")
        )
    if faults or dated_on is None or expires_on is None:
        raise Invalid(str(faults[0].message), errors=[fault.first() for fault in faults], field=faults[0].field)
    return dated_on, expires_on


def get_document_clause(name: str) -> Clause:
    """The clause that takes documents. Raises Invalid: for the others a probe decides, whatever is attached."""
    clause = BY_ID.get(name)
    if clause is None or clause.document is None:
        takers = ", ".join(each.id for each in BY_ID.values() if each.document is not None)
        raise Invalid(
            "The clause {name!r} takes no document.",
            name=name[:40],
            field="clause",
            limit=takers,
            hint=N_("A probe decides the other clauses."),
        )
    return clause


def read_document(content: Iterable[bytes]) -> bytes:
    """The bytes of the file. Raises Invalid for none or too many."""
    data = bytearray()
    for chunk in content:
        data += chunk
        if len(data) > MAX_DOCUMENT_BYTES:
            break
    if not 0 < len(data) <= MAX_DOCUMENT_BYTES:
        raise Invalid(
            "The document has to have 1 to {most} bytes.",
            most=MAX_DOCUMENT_BYTES,
            field="file",
            limit=f"1 to {MAX_DOCUMENT_BYTES} bytes",
        )
    return bytes(data)


def open_document(*, actor: Actor, attachment: Attachment) -> Attachment:
    """A document to be read; recorded."""
    policy.require(actor, "compliance.export")
    with transaction.atomic():
        audit.record(actor=actor, action="compliance.export", obj=attachment, digests={"file": attachment.artifact_id})
    return attachment


def withdraw_document(*, actor: Actor, attachment: Attachment, reason: str) -> Attachment:
    """Let a document count no more; it stays for whoever reads earlier evidence. Raises Conflict."""
    policy.require(actor, "compliance.withdraw")
    check_size("reason", reason.strip(), 500)
    with transaction.atomic():
        row: Attachment | None = Attachment.objects.select_for_update().filter(pk=attachment.pk).first()
        if row is None:
            raise NotFound("There is no document {number}.", number=attachment.pk, field="document")
        if row.withdrawn_at is not None:
            raise Conflict("Document {number} is withdrawn already.", number=row.pk, field="document")
        row.withdrawn_at, row.withdrawn_by = timezone.now(), actor.label[:200]
        row.save(update_fields=["withdrawn_at", "withdrawn_by"])
        audit.record(actor=actor, action="compliance.withdraw", obj=row, reason=reason.strip())
    return row
