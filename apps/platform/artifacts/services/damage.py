"""Damage of stored bytes: found by scrubs and by readers, set aside, recorded once, and repaired by equal uploads."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.artifacts.digests import CHUNK_BYTES, HASH_BYTES, ContentHash
from apps.platform.artifacts.models import Artifact, ChunkDigests
from apps.platform.artifacts.store import Store, StoredBytes
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record
from deepseek.messages import N_

log = logging.getLogger(__name__)
SCRUB_BATCH = 100
ARTIFACTS_PER_QUERY = 500  # digests in one query
CHUNKS_PER_PART = 1024  # digests in one row of ChunkDigests


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a scrub read: objects, bytes, and the digests that it found damaged or whole again."""

    checked: int
    bytes_read: int
    damaged: list[str]
    restored: list[str]


def verify_stored_artifacts(*, actor: Actor, budget_bytes: int | None = None, limit: int | None = None) -> ScrubReport:
    """Read stored objects whole, those that were not read for longest first, until the budget is spent.

    Other bytes, or none: the artifact is marked damaged with an audit record, and what is there is set aside, so
    that the next equal upload heals it. A damaged one whose bytes are right again is marked whole. Raises
    Unavailable when the store as a whole is away.
    """
    policy.require(actor, "artifact.scrub")
    at = get_store()
    started = timezone.now()
    if Artifact.objects.exists():
        at.check()
    checked = read = 0
    damaged: list[str] = []
    restored: list[str] = []
    for artifact in list_longest_unread(started):
        if (limit is not None and checked >= limit) or (budget_bytes is not None and read >= budget_bytes):
            break
        checked, read = checked + 1, read + artifact.size
        was_damaged = artifact.damaged_at is not None
        if not verify_artifact(actor, at, artifact, "A scrub found other bytes in its place, or none."):
            damaged += [] if was_damaged else [artifact.digest]
        elif was_damaged:
            restored.append(artifact.digest)
    return ScrubReport(checked, read, damaged, restored)


def verify_stored_artifact(*, actor: Actor, digest: str) -> bool | None:
    """Verify one artifact now and keep the digests of its chunks: a client waits for a range of it.

    None where somebody has done so meanwhile, or there is no such artifact; else as `verify_artifact`.
    """
    policy.require(actor, "artifact.scrub")
    artifact = Artifact.objects.filter(pk=digest, chunked_at=None, damaged_at=None).first()
    if artifact is None:
        return None
    at = get_store()
    at.check()
    return verify_artifact(actor, at, artifact, "A scrub found other bytes in its place, or none.")


def request_chunk_digests(*, actor: Actor, artifact: Artifact) -> bool:
    """Have the next scrub begin with this artifact; True for the first who requests it."""
    policy.require(actor, "artifact.scrub")
    waiting = Artifact.objects.filter(pk=artifact.pk, chunked_at=None, chunks_wanted_at=None)
    return bool(waiting.update(chunks_wanted_at=timezone.now()))


def keep_chunk_digests(*, actor: Actor, stored: StoredBytes) -> None:
    """Keep the digests of the chunks of an artifact whose bytes the caller has just read whole and found right."""
    policy.require(actor, "artifact.scrub")
    with transaction.atomic():
        save_chunk_digests([stored], timezone.now())


def report_damage(
    *, actor: Actor, digest: str, reason: str, is_certain: bool = False, seen: Artifact | None = None
) -> bool:
    """Whoever reads other bytes than those of an artifact reports it here: it is read once more (unless the caller
    `is_certain`, and has done that itself), set aside, marked, and recorded, once. False where it is whole after all.

    `seen`: the row as it was before the caller began to read; where the same bytes have come since, the object is read
    once more anyway. Raises Unavailable where the store as a whole is away: that is no damage.
    """
    policy.require(actor, "artifact.report_damage")
    at = get_store()
    at.check()
    if is_certain and set_aside_damaged(actor, at, digest, seen, reason):
        return True
    return read_or_set_aside(actor, at, digest, reason) is None


# -- a scrub --------------------------------------------------------------------------------------------------------
def list_longest_unread(started: datetime) -> Iterable[Artifact]:
    """Artifacts not read since `started`, first those without the digests of their chunks; in batches, because a scrub
    writes between them and may take hours.
    """
    unread = Artifact.objects.filter(verified_at__lt=started)
    without = unread.filter(chunked_at=None, damaged_at=None, size__gt=CHUNK_BYTES)
    wanted_first = F("chunks_wanted_at").asc(nulls_last=True)
    while batch := list(without.order_by(wanted_first, "verified_at")[:SCRUB_BATCH]):
        yield from batch
    while batch := list(unread.order_by("verified_at")[:SCRUB_BATCH]):
        yield from batch


def verify_artifact(actor: Actor, at: Store, artifact: Artifact, reason: str) -> bool:
    """Read the bytes of an artifact whole and keep in its row what was found; `reason`: of the record, if damaged."""
    with_chunks = artifact.chunked_at is None and artifact.size > CHUNK_BYTES
    content_hash = read_or_set_aside(actor, at, artifact.digest, reason, with_chunks=with_chunks)
    now = timezone.now()
    if content_hash is None:
        return False
    if artifact.damaged_at is not None:
        mark_whole(actor, artifact, now)
    with transaction.atomic():
        Artifact.objects.filter(pk=artifact.pk).update(verified_at=now)
        save_chunk_digests([StoredBytes(artifact.digest, content_hash.size, content_hash.chunks())], now)
    return True


def read_or_set_aside(
    actor: Actor, at: Store, digest: str, reason: str, *, with_chunks: bool = False
) -> ContentHash | None:
    """The digests of an object that is there and whole; None if it is not, and then it is set aside and marked.

    Reading takes minutes: where the same bytes have come meanwhile, and may have repaired the object, it is read again.
    """
    while True:
        artifact = Artifact.objects.filter(pk=digest).first()
        content_hash = read_object(at, digest, with_chunks=with_chunks)
        if content_hash is not None or set_aside_damaged(actor, at, digest, artifact, reason):
            return content_hash


def set_aside_damaged(actor: Actor, at: Store, digest: str, seen: Artifact | None, reason: str) -> bool:
    """Move a damaged object out of the way and mark its artifact; False, and nothing is done, where the same bytes have
    come again since the row was `seen`. Bytes that are not registered yet have no row to mark.

    Times of the row are compared with each other alone: the clock of this host may differ from the database's.
    """
    with transaction.atomic():
        # An upload that repairs it holds this lock while it looks for the object, and until its row says so.
        artifact = Artifact.objects.select_for_update(no_key=True).filter(pk=digest).first()
        if artifact is not None and (seen is None or get_arrival_times(artifact) != get_arrival_times(seen)):
            return False
        at.set_aside(digest)
        if artifact is not None:
            mark_damaged(actor, artifact, timezone.now(), reason)
        return True


def get_arrival_times(artifact: Artifact) -> tuple[datetime | None, datetime | None]:
    """When its bytes came again: to a whole object, or to a damaged one."""
    return artifact.touched_at, artifact.restored_at


def read_object(at: Store, digest: str, *, with_chunks: bool = False) -> ContentHash | None:
    """The digests of an object that is there and whole; None if it is not."""
    try:
        content_hash = at.hash(digest, with_chunks=with_chunks)
        if content_hash.hexdigest() == digest:
            return content_hash
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EIO:  # a bad sector is damage, anything else is a fault of the moment
            raise
    return None


# -- rows -----------------------------------------------------------------------------------------------------------
def mark_damaged(actor: Actor, artifact: Artifact, now: datetime, reason: str) -> bool:
    """False if it was marked before: each damage is recorded once."""
    with transaction.atomic():
        Artifact.objects.filter(pk=artifact.pk).update(verified_at=now)
        if not Artifact.objects.filter(pk=artifact.pk, damaged_at=None).update(damaged_at=now):
            return False
        digests = {"artifact": artifact.digest}
        record(actor=actor, action="artifact.damaged", obj=artifact, reason=reason, digests=digests)
    log.error("artifact %s is damaged: %s", artifact.digest, reason)
    return True


def mark_whole(actor: Actor, artifact: Artifact, now: datetime) -> None:
    with transaction.atomic():
        Artifact.objects.filter(pk=artifact.pk).update(damaged_at=None, restored_at=Now(), verified_at=now)
        record(actor=actor, action="artifact.restored", obj=artifact, digests={"artifact": artifact.digest})
    artifact.damaged_at, artifact.verified_at = None, now


def repair_row(actor: Actor, artifact: Artifact, stored: StoredBytes, now: datetime) -> None:
    """Record that right bytes have taken the place of damaged ones; nothing where nothing was wrong."""
    if stored.replaced and artifact.damaged_at is None:
        mark_damaged(actor, artifact, now, "An upload of the same bytes found others in their place.")
        artifact.damaged_at = now
    if artifact.damaged_at is None:
        return
    if get_store().lacking({artifact.digest: artifact.size}):
        raise Conflict(
            "The bytes of {artifact_digest} were set aside as damaged while the same came.",
            artifact_digest=artifact.digest,
            code="artifact_damaged",
            field="digest",
            hint=N_("Send them again."),
        )
    mark_whole(actor, artifact, now)


def save_chunk_digests(stored: Iterable[StoredBytes], now: datetime) -> None:
    """Keep the digests of the chunks of artifacts that have none yet; those of one chunk need none."""
    chunked = [item for item in stored if item.chunks]
    step = CHUNKS_PER_PART * HASH_BYTES
    rows = (
        ChunkDigests(artifact_id=item.digest, part=part, digests=item.chunks[start : start + step])
        for item in chunked
        for part, start in enumerate(range(0, len(item.chunks), step))
    )
    if chunked:
        ChunkDigests.objects.bulk_create(rows, batch_size=100, ignore_conflicts=True)
        for part in range(0, len(chunked), ARTIFACTS_PER_QUERY):
            digests = [item.digest for item in chunked[part : part + ARTIFACTS_PER_QUERY]]
            Artifact.objects.filter(pk__in=digests, chunked_at=None).update(chunked_at=now)
