"""Is the trail what it was? Walks the chain in the database, the copies beside it, and the checkpoints outside it.

Constant memory, no long transaction: rows are read in chunks along the chain, up to where its head stood at the start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Subquery, Value
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.audit import keys
from apps.platform.audit.checkpoints import read_checkpoints
from apps.platform.audit.models import AuditRecord, ChainHead, Result
from apps.platform.audit.record_body import build_column_copies
from apps.platform.audit.services import record, seal_now
from apps.platform.audit.verifier.verify import (
    GENESIS,
    Finding,
    Link,
    Walk,
    algorithm_of,
    body_digest,
    load_public_key,
    signed_hashes,
)

Report = Callable[[int, int], None]
CHUNK = 2000
RECENT = 5000  # records that are verified while somebody waits: about a quarter of a second
ALARM_SECONDS = 5.0  # an older unsealed record means that no sealer runs


@dataclass(frozen=True, kw_only=True)
class Unsealed:
    count: int
    oldest_seconds: float

    @property
    def alarm(self) -> bool:
        return self.oldest_seconds > ALARM_SECONDS


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What a walk found. `finding` is the first bad record, None when the trail is whole."""

    finding: Finding | None
    sealed: int
    head: str
    unsealed: Unsealed
    checkpoints: int
    last_checkpoint: dict[str, Any] | None
    note: str
    seconds: float

    @property
    def whole(self) -> bool:
        return self.finding is None

    def as_dict(self) -> dict[str, Any]:
        return {
            "whole": self.whole,
            "finding": {**self.finding._asdict(), "text": str(self.finding)} if self.finding else None,
            "sealed": self.sealed,
            "head": self.head,
            "unsealed": self.unsealed.count,
            "oldest_unsealed_seconds": round(self.unsealed.oldest_seconds, 3),
            "alarm": self.unsealed.alarm,
            "checkpoints": self.checkpoints,
            "last_checkpoint": self.last_checkpoint,
            "note": self.note,
            "seconds": round(self.seconds, 3),
        }


def verify_trail(*, actor: Actor, asked_by: str = "", report: Report | None = None) -> Verification:
    """Verify, and record that it was done and what came of it: the newest such record is what pages show.

    `report` is told (records so far, records in all) along the way; what it raises ends the walk without a result.
    """
    require(actor, "audit.verify")
    verification = examine(report=report)
    after = {
        "sealed": verification.sealed,
        "head": verification.head,
        "seconds": round(verification.seconds, 3),
        "note": verification.note,
    }
    record(
        actor=actor,
        action="audit.verify",
        result=Result.DONE if verification.whole else Result.FAILED,
        reason=str(verification.finding or ""),
        after={**after, "asked_by": asked_by} if asked_by else after,
    )
    seal_now()
    return verification


def verify_recent(*, actor: Actor, seq: int, head: str) -> Verification:
    """Verify what came after record `seq`, which was found whole with the hash `head`: RECENT records at most, so it
    may be done while somebody waits. What was changed before `seq` it cannot find.

    A break is recorded as one of the trail; a whole part by itself, for it does not speak of the rest.
    """
    require(actor, "audit.verify")
    verification = examine(after=seq, hash_=head, limit=RECENT)
    record(
        actor=actor,
        action="audit.verify_recent" if verification.whole else "audit.verify",
        result=Result.DONE if verification.whole else Result.FAILED,
        reason=str(verification.finding or ""),
        after={
            "from": seq + 1,
            "sealed": verification.sealed,
            "head": verification.head,
            "seconds": round(verification.seconds, 3),
        },
    )
    seal_now()
    return verification


def examine(
    *, after: int = 0, hash_: str = GENESIS, limit: int | None = None, report: Report | None = None
) -> Verification:
    """Walk the whole trail, or at most `limit` records after one whose hash is known. Only reads."""
    started = time.monotonic()
    newest = AuditRecord.objects.aggregate(seq=Max("seq"))["seq"] or 0  # before the head: it is never behind a row
    head = ChainHead.objects.filter(pk=1).first()
    checkpoints = [checkpoint for checkpoint in read_checkpoints() if not after or checkpoint.get("seq", 0) > after]
    signed, fault, note = check_checkpoints(checkpoints, head, after)
    walk = Walk(seq=after, hash=hash_, signed=signed)
    end = max(newest, head.seq if head else 0)
    until = end if limit is None else min(end, after + limit)
    finding = walk_rows(walk, until, report)
    if finding is None and until == end:  # only here the head and the newest checkpoint have their say
        finding = head_fault(walk, head, newest) or cut_fault(walk, signed)
    finding = finding or fault
    return Verification(
        finding=finding,
        sealed=walk.seq,
        head=walk.hash,
        unsealed=get_unsealed_state(),
        checkpoints=len(checkpoints),
        last_checkpoint=checkpoints[-1] if checkpoints else None,
        note=note,
        seconds=time.monotonic() - started,
    )


def walk_rows(walk: Walk, until: int, report: Report | None = None) -> Finding | None:
    for count, row in enumerate(iter_sealed_rows(after=walk.seq, until=until)):
        if report is not None and count % CHUNK == 0:
            report(walk.seq, until)
        chain = row.hash or ""
        link = Link(row.seq or 0, row.pk, row.prev or "", chain, body_digest(row.body, algorithm_of(chain)))
        finding = walk.step(link)
        if finding is None:
            wrong = find_copy_fault(row)
            finding = Finding(wrong, row.seq, row.pk) if wrong else None
        if finding is not None:
            return finding
    return None


def iter_sealed_rows(*, after: int = 0, until: int) -> Iterator[AuditRecord]:
    """The rows after `after` up to and with `until`, along the chain, a chunk at a time."""
    while True:
        chunk = list(AuditRecord.objects.filter(seq__gt=after, seq__lte=until).order_by("seq")[:CHUNK])
        yield from chunk
        if len(chunk) < CHUNK:
            return
        after = chunk[-1].seq or 0


def find_copy_fault(row: AuditRecord) -> str:
    """Which indexed column says something else than the body; "" when none does."""
    try:
        copies = build_column_copies(json.loads(row.body))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return "its body is not one that this plane writes"
    wrong = [name for name, value in copies.items() if getattr(row, name) != value]
    return f"its {' and '.join(wrong)} differ from its body (a column was edited)" if wrong else ""


def head_fault(walk: Walk, head: ChainHead | None, newest: int) -> Finding | None:
    if head is None:
        return Finding("the head of the chain is gone", walk.seq)
    if walk.seq < head.seq:
        return Finding(f"the chain ends here, its head says it reached record {head.seq}: the tail was cut", walk.seq)
    if newest > head.seq:
        return Finding(f"the chain goes on after record {head.seq}, where its head stands", head.seq + 1)
    return Finding("the head of the chain has another hash for it", head.seq) if walk.hash != head.hash else None


def cut_fault(walk: Walk, signed: dict[int, str]) -> Finding | None:
    """`signed` was read after the walk's end was fixed, so an honest newer checkpoint may be beyond it: look again."""
    newest = max(signed, default=0)
    if newest <= walk.seq or AuditRecord.objects.filter(seq=newest).exists():
        return None
    return Finding(f"the chain ends here, a signed checkpoint reached record {newest}: the tail was cut", walk.seq)


def check_checkpoints(
    checkpoints: list[dict[str, Any]], head: ChainHead | None, after: int = 0
) -> tuple[dict[int, str], Finding | None, str]:
    """What the checkpoints after record `after` sign, the first that does not hold, a note where they are unchecked."""
    pem = keys.read_public_pem()
    if pem is None:
        missing = checkpoints or (head and head.key_id)
        return {}, None, "The checkpoints were not checked: their key is not on this machine." if missing else ""
    signed, fault = signed_hashes(load_public_key(pem), checkpoints)
    signed_seq = head.checkpoint_seq if head else 0
    if fault is None and signed_seq > max(signed, default=after):
        fault = Finding("its checkpoint was written, and is no longer in the file of checkpoints", signed_seq)
    return signed, fault, ""


def get_unsealed_state(now: datetime | None = None) -> Unsealed:
    """How many rows no sealer has taken yet, and the age of the oldest in seconds."""
    unsealed = AuditRecord.objects.filter(seq__isnull=True)
    counted = unsealed.annotate(one=Value(1)).values("one").annotate(count=Count("pk")).values("count").order_by()
    first = unsealed.order_by("id").values_list("at", Subquery(counted)).first()
    if first is None:
        return Unsealed(count=0, oldest_seconds=0.0)
    oldest, count = first
    age = ((now or timezone.now()) - oldest).total_seconds()
    return Unsealed(count=count, oldest_seconds=max(0.0, age))
