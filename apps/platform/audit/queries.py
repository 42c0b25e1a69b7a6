"""Reading the trail. Who may read all of it (the auditor) leaves a record of every reading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import is_allowed, require
from apps.platform.audit.checkpoints import list_newest_checkpoints
from apps.platform.audit.filters import Filters, apply_filters
from apps.platform.audit.models import AuditQuerySet, AuditRecord, ChainHead, Result, VerificationRun
from apps.platform.audit.naming.object_names import find_object_names
from apps.platform.audit.record_body import decode_body
from apps.platform.audit.services import record
from apps.platform.audit.verification import Unsealed, get_unsealed_state

BAD_RECORD = re.compile(r"record (\d{1,18})\b")  # as verify.Finding begins
FEW_CHANGES, SHORT = 4, 80  # fields, characters of one
OVERLAP = 200  # records
WHO_SHOWN = 10
DECIDED = ("approval.approved", "approval.rejected")
COUNT_LIMIT = 10_000  # beyond it a page says "more than": an exact count would read the whole index


def read_records(actor: Actor, filters: Filters) -> AuditQuerySet:
    """The records that `actor` may see and asked for, newest first; the reading itself is among them.

    A member reads the records of their projects without being recorded: they are the members' own acts.
    Raises Refused for somebody who is neither.
    """
    if not can_read_projects(actor):
        require(actor, "audit.view")
    if is_allowed(actor, "audit.view"):
        record(actor=actor, action="audit.view", project_id=filters.project_id, after=filters.as_dict())
    return apply_filters(AuditRecord.objects.visible_to(actor), filters).order_by(*get_order(filters))


def get_order(filters: Filters) -> tuple[str, ...]:
    """Newest first: by the index over time where a range of it is asked for, else by the key."""
    return ("-at", "-id") if filters.start or filters.end else ("-id",)


def can_read_projects(actor: Actor) -> bool:
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


def count_results(records: AuditQuerySet) -> Tally:
    """Of the newest COUNT_LIMIT, in the order that `records` have."""
    # Of the slice itself: sought again by their keys, PostgreSQL would read the whole trail to find so many.
    counts = records[:COUNT_LIMIT].aggregate(
        records=models.Count("pk"),
        refused=models.Count("pk", filter=models.Q(result=Result.REFUSED)),
        actors=models.Count("actor", distinct=True),
    )
    return Tally(**counts)


def select_newest(records: AuditQuerySet) -> AuditQuerySet:
    return AuditRecord.objects.filter(pk__in=records.values("pk")[:COUNT_LIMIT])


@dataclass(frozen=True, slots=True)
class Today:
    """What happened since midnight in the reader's zone, each at most COUNT_LIMIT."""

    records: int
    refused: int
    log_ins_failed: int
    decided: int
    since: datetime

    @property
    def more(self) -> bool:
        return self.records >= COUNT_LIMIT

    @property
    def decided_actions(self) -> str:
        """The decisions as the filter of the trail takes them."""
        return ",".join(DECIDED)


def get_today(actor: Actor) -> Today:
    """Each count goes along the index of its column, from the first record of today on, and ends at COUNT_LIMIT."""
    since = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    # Ids follow the times but for transactions that overlap: the least of the first few is before all others.
    early = AuditRecord.objects.filter(at__gte=since).order_by("at", "id").values("pk")[:OVERLAP]
    first = AuditRecord.objects.filter(pk__in=early).aggregate(pk=models.Min("pk"))["pk"]
    visible = AuditRecord.objects.visible_to(actor).filter(at__gte=since, pk__gte=first or 0)
    parts = {
        "records": visible,
        "refused": visible.filter(result=Result.REFUSED),
        "log_ins_failed": visible.filter(action="user.log_in", result=Result.FAILED),
        "decided": visible.filter(action__in=DECIDED),
    }
    counts = {name: build_count(rows) for name, rows in parts.items()}
    totals = ChainHead.objects.filter(pk=1).values(**counts).first() or dict.fromkeys(parts, 0)
    return Today(**totals, since=since)


def build_count(rows: AuditQuerySet) -> Any:
    """How many of `rows` there are, at most COUNT_LIMIT, as a part of another query."""
    few = models.Subquery(rows.order_by("-id").values("pk")[:COUNT_LIMIT])
    records = AuditRecord.objects.filter(pk__in=few).order_by()
    alone = records.annotate(one=models.Value(1)).values("one").annotate(count=models.Count("pk")).values("count")
    return Coalesce(models.Subquery(alone), 0)


def count_by_actor(records: AuditQuerySet) -> list[dict[str, Any]]:
    """Who the newest of these records are by, who left most first: [{actor, records, refused}]."""
    refused = models.Count("pk", filter=models.Q(result=Result.REFUSED))
    rows = select_newest(records).order_by().values("actor").annotate(records=models.Count("pk"), refused=refused)
    return [dict(row) for row in rows.order_by("-records", "actor")[:WHO_SHOWN]]


def get_record_span(records: AuditQuerySet) -> tuple[int | None, int | None]:
    """The first and the last number in the chain of the newest of these records."""
    span = records[:COUNT_LIMIT].aggregate(first=models.Min("seq"), last=models.Max("seq"))
    return span["first"], span["last"]


def list_touched_objects(actor: Actor, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Other objects that the same requests wrote about: [{object_type, object_id, project_id}], the newest first."""
    request_ids = {event.row.request_id for event in events if event.row.request_id}
    if not request_ids:
        return []
    about = events[0].row
    rows = AuditRecord.objects.visible_to(actor).filter(request_id__in=request_ids).exclude(object_type="")
    rows = rows.exclude(object_type=about.object_type, object_id=about.object_id).order_by("-id")
    objects = rows.values("object_type", "object_id", "project_id")[: WHO_SHOWN * 5]
    return list({(row["object_type"], row["object_id"]): dict(row) for row in objects}.values())[:WHO_SHOWN]


def get_timeline(actor: Actor, object_type: str, object_id: str | int, *, limit: int = 50) -> list[Event]:
    """The newest records about one object, for its page's "Audit" tab (templates/audit/timeline.html)."""
    rows = AuditRecord.objects.visible_to(actor).filter(object_type=object_type, object_id=str(object_id))
    return [build_event(row) for row in rows.order_by("-id")[:limit]]


@dataclass(frozen=True, slots=True)
class Event:
    """A record as a line of a timeline shows it."""

    row: AuditRecord
    body: dict[str, Any]
    name: str = ""  # of its object, where somebody looked it up

    @property
    def state(self) -> str:
        """The state whose colour and icon it wears: the one that its object came into (a job that failed is no success,
        though its record is done); reading stays quiet."""
        if self.row.result != Result.DONE:
            return self.row.result
        if self.row.action.endswith((".view", ".log_in", ".log_out")):
            return "note"
        return str((self.body.get("after") or {}).get("state") or Result.DONE)

    @property
    def title(self) -> str:
        """What was asked for; a page says before it, in its own language, where it was refused or failed."""
        return f"{self.row.action} {self.object}".strip()

    @property
    def object(self) -> str:
        return f"{self.row.object_type} {self.row.object_id}".strip()

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """(field, before, after), where at least one of them is told; what only the database knew is not."""
        before, after = self.body.get("before") or {}, self.body.get("after") or {}
        rows = [(name, before.get(name, ""), after.get(name, "")) for name in sorted({*before, *after})]
        return [(name, *values) for name, *values in rows if any(value not in ("", None) for value in values)]

    @property
    def few(self) -> bool:
        """A change of so few and short fields that it is shown at once; what was only set waits behind a click."""
        changes = self.changes
        short = all(len(str(value)) <= SHORT for _name, *values in changes for value in values)
        return bool(self.body.get("before")) and len(changes) <= FEW_CHANGES and short


def build_named_events(rows: Sequence[AuditRecord]) -> list[Event]:
    """The events of a page, with the names of their objects: at most MAX_TYPES queries."""
    names = find_object_names(rows)
    return [replace(build_event(row), name=names.get((row.object_type, row.object_id), "")) for row in rows]


def build_event(row: AuditRecord) -> Event:
    """The event of a row; one whose body was tampered with still shows, without what is not of the shape we write."""
    body = decode_body(row.body)
    return Event(row, body | {name: {} for name in ("before", "after") if not isinstance(body.get(name), dict)})


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification left in the trail."""

    whole: bool
    at: datetime
    by: str
    seq: int  # records up to and with this one
    head: str
    seconds: float
    finding: str

    @property
    def bad(self) -> int | None:
        """The number of the first bad record, where the finding is about one."""
        match = BAD_RECORD.match(self.finding)
        return int(match[1]) if match else None


def get_last_verification() -> Verified | None:
    """The newest verification, or None: of the whole trail, or whole of what came after such a one."""
    return get_last_two_verifications()[0]


def get_last_two_verifications() -> tuple[Verified | None, Verified | None]:
    """The newest verification, and the newest that began with the first record: often the same."""
    # One action a part, and no test of the result that has an index of its own: else SQLite walks that one.
    walks, recents = (
        AuditRecord.objects.filter(action=action).exclude(result=Result.REFUSED).order_by("-id").values("pk")[:1]
        for action in ("audit.verify", "audit.verify_recent")
    )
    newest_of_each = models.Q(pk=models.Subquery(walks)) | models.Q(pk=models.Subquery(recents))
    by_action = {row.action: row for row in AuditRecord.objects.filter(newest_of_each)}
    walk, recent = by_action.get("audit.verify"), by_action.get("audit.verify_recent")
    newest = recent if walk and recent and recent.pk > walk.pk else walk
    return build_verified(newest), build_verified(walk)


def list_verifications() -> list[Verified]:
    """The newest verifications of the whole trail: when, by whom, how many records, what came of it."""
    ended = AuditRecord.objects.filter(action="audit.verify").exclude(result=Result.REFUSED)
    return [verified for row in ended.order_by("-id")[:WHO_SHOWN] if (verified := build_verified(row))]


def build_verified(row: AuditRecord | None) -> Verified | None:
    if row is None:
        return None
    body = build_event(row).body
    after = body.get("after", {})
    return Verified(
        whole=row.result == Result.DONE,
        at=row.at,
        by=str(after.get("asked_by") or row.actor),
        seq=int(read_number(after.get("sealed"))),
        head=str(after.get("head", "")),
        seconds=float(read_number(after.get("seconds"))),
        finding=str(body.get("reason", "")),
    )


def read_number(value: Any) -> float:
    """A number of a body; 0 for what is none, or more than a record can count."""
    return value if isinstance(value, int | float) and 0 <= value < 2**63 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """What is known of the chain without walking it. `state`: whole, broken or unverified, as last verified."""

    verified: Verified | None
    walked: Verified | None  # the newest verification that began with the first record
    sealed: int
    head: str
    sealed_at: Any
    unsealed: Unsealed
    last_checkpoint: dict[str, Any] | None
    run: VerificationRun | None  # the newest that somebody asked for

    @property
    def state(self) -> str:
        return "unverified" if self.verified is None else "whole" if self.verified.whole else "broken"

    @property
    def verified_at(self) -> datetime | None:
        return self.verified.at if self.verified else None

    @property
    def verified_seq(self) -> int:
        return self.verified.seq if self.verified else 0

    @property
    def finding(self) -> str:
        return self.verified.finding if self.verified else ""

    @property
    def unverified(self) -> int:
        """Sealed records that no verification has seen yet."""
        return max(0, self.sealed - self.verified_seq)

    def as_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "verified_at": self.verified_at,
            "verified_by": self.verified.by if self.verified else None,
            "verified_seq": self.verified_seq,
            "finding": self.finding or None,
            "sealed": self.sealed,
            "head": self.head,
            "sealed_at": self.sealed_at,
            "unsealed": self.unsealed.count,
            "oldest_unsealed_seconds": round(self.unsealed.oldest_seconds, 3),
            "alarm": self.unsealed.alarm,
            "last_checkpoint": self.last_checkpoint,
            "verification": self.run,
        }


def get_chain_state(actor: Actor) -> ChainState:
    """Where the chain stands, what the last verification found, and how far one is that was asked for."""
    require(actor, "audit.view")
    head = ChainHead.objects.get(pk=1)
    verified, walked = get_last_two_verifications()
    return ChainState(
        verified=verified,
        walked=walked,
        sealed=head.seq,
        head=head.hash,
        sealed_at=head.sealed_at,
        unsealed=get_unsealed_state(),
        last_checkpoint=next(iter(list_newest_checkpoints()), None),
        run=VerificationRun.objects.order_by("-pk").first(),
    )
