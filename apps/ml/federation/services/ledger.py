"""What a site's job reports of its egress ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.policy import require
from apps.core.request_values import MAX_INT64
from apps.ml.federation.models import LedgerEntry, SiteStudy
from apps.platform.audit.services import record
from deepseek.federated.ledger_verifier import compute_entry_digest, is_signed
from deepseek.federated.spec import LedgerEntry as LedgerLine
from deepseek.messages import N_, Message


def record_ledger_entries(*, actor: Actor, site_study: SiteStudy, entries: Sequence[Mapping[str, Any]]) -> int:
    """Keep lines of the site's ledger; those that are here already are left out. Returns how many are new.

    What is no line of this site's ledger is not kept; the others are, and then Invalid `bad_ledger_entry` is raised.
    """
    require(actor, "federation.record", site_study)
    rows: dict[str, LedgerEntry] = {}
    fault: Invalid | None = None
    for entry in entries:
        try:
            row = build_entry(site_study, entry)
        except Invalid as error:
            fault = fault or error
        else:
            rows.setdefault(row.entry_digest, row)
    with transaction.atomic():
        SiteStudy.objects.select_for_update().get(
            pk=site_study.pk
        )  # two reports of the same lines, one after the other
        stored = LedgerEntry.objects.filter(site_study=site_study, entry_digest__in=list(rows))
        known = set(stored.values_list("entry_digest", flat=True))
        new_rows = [row for digest, row in rows.items() if digest not in known]
        if new_rows:
            LedgerEntry.objects.bulk_create(new_rows, batch_size=500)
            after = {"entries": len(new_rows), "bytes": sum(row.size for row in new_rows if row.kind != "refused")}
            digests = {"last": new_rows[-1].entry_digest}
            record(actor=actor, action="federation.record", obj=site_study, after=after, digests=digests)
    if fault is not None:
        raise fault
    return len(new_rows)


def build_entry(site_study: SiteStudy, entry: Mapping[str, Any]) -> LedgerEntry:
    """The row of one line. Raises Invalid `bad_ledger_entry` for one that this site has not signed."""
    try:
        line = LedgerLine.model_validate(dict(entry))
        at = datetime.fromisoformat(line.created_at)
    except (ValidationError, TypeError, ValueError):
        raise build_entry_error(N_("not readable")) from None
    if line.bytes > MAX_INT64 or "\x00" in line.reason:  # no database keeps it, nor the lines of the same report then
        raise build_entry_error(N_("not readable"))
    identity = (line.study, line.site, line.public_key)
    if identity != (site_study.digest, site_study.site, site_study.public_key):
        raise build_entry_error(N_("of another study, site or key"))
    document = line.model_dump(mode="json")
    if not is_signed(document):
        raise build_entry_error(N_("not signed by the site's key"))
    return LedgerEntry(
        project_id=site_study.project_id,
        site_study=site_study,
        entry_digest=compute_entry_digest(document),
        previous=line.previous,
        document=document,
        round=line.round,
        kind=line.kind,
        update_digest=line.digest,
        size=line.bytes,
        norm=line.norm,
        max_abs=line.max_abs,
        epsilon=line.epsilon,
        reason=line.reason,
        at=at,
    )


def build_entry_error(reason: str) -> Invalid:
    return Invalid(
        "The line of the ledger is {reason}.",
        reason=Message(reason),
        code="bad_ledger_entry",
        field="entries",
        limit=N_("lines that this site's process has written"),
    )
