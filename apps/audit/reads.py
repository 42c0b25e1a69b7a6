"""Reading the trail. Who may read all of it (the auditor) leaves a record of every reading."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.db import models

from apps.actors import Actor
from apps.audit.checkpoints import read_checkpoints
from apps.audit.filters import Filters, narrowed
from apps.audit.models import AuditQuerySet, AuditRecord, ChainHead, Result
from apps.audit.services import record
from apps.audit.verification import Unsealed, unsealed_state
from apps.policy import allows, require

COUNT_LIMIT = 10_000  # beyond it a page says "more than": an exact count would read the whole index


def read_records(actor: Actor, filters: Filters) -> AuditQuerySet:
    """The records that `actor` may see and asked for, newest first; the reading itself is among them.

    A member reads the records of their projects without being recorded: they are the members' own acts.
    Raises Refused for somebody who is neither.
    """
    if not may_read_projects(actor):
        require(actor, "audit.view")
    if allows(actor, "audit.view"):
        record(actor=actor, action="audit.view", project_id=filters.project_id, after=filters.asked())
    return narrowed(AuditRecord.objects.visible_to(actor), filters).order_by("-id")


def may_read_projects(actor: Actor) -> bool:
    """A member of any project, whose token, if it is one, may read."""
    return bool(actor.project_ids) and (actor.scopes is None or bool(actor.scopes & {"read", "audit:read"}))


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records match, at most COUNT_LIMIT, how many are refusals, and by how many actors."""

    records: int
    refused: int
    actors: int

    @property
    def more(self) -> bool:
        return self.records >= COUNT_LIMIT


def tally(records: AuditQuerySet) -> Tally:
    newest = AuditRecord.objects.filter(pk__in=records.order_by("-id").values("pk")[:COUNT_LIMIT])
    found = newest.aggregate(
        records=models.Count("pk"),
        refused=models.Count("pk", filter=models.Q(result=Result.REFUSED)),
        actors=models.Count("actor", distinct=True),
    )
    return Tally(**found)


def timeline(actor: Actor, object_type: str, object_id: str | int, *, limit: int = 50) -> list[Event]:
    """The newest records about one object, for its page's "Audit" tab (templates/audit/timeline.html)."""
    rows = AuditRecord.objects.visible_to(actor).filter(object_type=object_type, object_id=str(object_id))
    return [event_of(row) for row in rows.order_by("-id")[:limit]]


@dataclass(frozen=True, slots=True)
class Event:
    """A record as a line of a timeline shows it."""

    row: AuditRecord
    body: dict[str, Any]

    @property
    def state(self) -> str:
        """The state whose colour and icon it wears; reading and changes of plain fields stay quiet."""
        quiet = self.row.action.endswith((".view", ".log_in", ".log_out"))
        return "note" if quiet and self.row.result == Result.DONE else self.row.result

    @property
    def title(self) -> str:
        verb = f"{self.row.action} {self.object}".strip()
        return verb if self.row.result == Result.DONE else f"{self.row.result}: {verb}"

    @property
    def object(self) -> str:
        return f"{self.row.object_type} {self.row.object_id}".strip()

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """(field, before, after), where at least one of them is told."""
        before, after = self.body.get("before") or {}, self.body.get("after") or {}
        return [(name, before.get(name, ""), after.get(name, "")) for name in sorted({*before, *after})]


def event_of(row: AuditRecord) -> Event:
    """The event of a row; one whose body was tampered with still shows, without its body."""
    try:
        body = json.loads(row.body)
    except ValueError:
        body = {}
    return Event(row, body if isinstance(body, dict) else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """What is known of the chain without walking it. `state`: whole, broken or unverified, as last verified."""

    state: str
    verified_at: Any
    verified_seq: int
    finding: str
    sealed: int
    head: str
    sealed_at: Any
    unsealed: Unsealed
    last_checkpoint: dict[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "verified_at": self.verified_at,
            "verified_seq": self.verified_seq,
            "finding": self.finding or None,
            "sealed": self.sealed,
            "head": self.head,
            "sealed_at": self.sealed_at,
            "unsealed": self.unsealed.count,
            "oldest_unsealed_seconds": round(self.unsealed.oldest_seconds, 3),
            "alarm": self.unsealed.alarm,
            "last_checkpoint": self.last_checkpoint,
        }


def chain_state(actor: Actor) -> ChainState:
    """Where the chain stands and what the last verification found."""
    require(actor, "audit.view")
    return chain_summary()


def chain_summary() -> ChainState:
    """`chain_state` for the lamp in the frame, which everybody sees: it tells of no record."""
    head = ChainHead.objects.get(pk=1)
    last = (
        AuditRecord.objects.filter(action="audit.verify", result__in=[Result.DONE, Result.FAILED])
        .order_by("-id")
        .first()
    )
    after = event_of(last).body.get("after", {}) if last else {}
    checkpoint = None
    for checkpoint in read_checkpoints():  # noqa: B007  the last one is wanted
        pass
    return ChainState(
        state="unverified" if last is None else "whole" if last.result == Result.DONE else "broken",
        verified_at=last.at if last else None,
        verified_seq=int(after.get("sealed", 0)),
        finding=str(event_of(last).body.get("reason", "")) if last else "",
        sealed=head.seq,
        head=head.hash,
        sealed_at=head.sealed_at,
        unsealed=unsealed_state(),
        last_checkpoint=checkpoint,
    )
