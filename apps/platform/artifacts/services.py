"""Every write of artifacts: bytes first into the store, then their rows in one short transaction.

A fault between the two leaves bytes that no row names: unseen by anybody, found again by the next equal upload.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Now
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound, StorageFull, TooLarge
from apps.platform.accounts.models import Project
from apps.platform.artifacts import file_names
from apps.platform.artifacts.digests import CHUNK_BYTES, HASH_BYTES, ContentHash, validate_digest
from apps.platform.artifacts.models import Artifact, ChunkDigests, Collected, Holding
from apps.platform.artifacts.store import CHUNK, STALE, Store, StoredBytes
from apps.platform.artifacts.stores import get_store, get_store_space
from apps.platform.audit.services import record
from deepseek.messages import N_

log = logging.getLogger(__name__)
SCRUB_BATCH = 100
ARTIFACTS_PER_QUERY = 500  # digests in one query
QUOTA_WITHOUT_DISK = 10**12  # bytes of a project where the store is no folder, unless the operator sets a quota
CHUNKS_PER_PART = 1024  # digests in one row of ChunkDigests


@dataclass(frozen=True, slots=True)
class Published:
    """A stored artifact, the project's holding of it, and whether the project got it only now."""

    holding: Holding
    is_new: bool

    @property
    def artifact(self) -> Artifact:
        return self.holding.artifact


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a scrub read: objects, bytes, and the digests that it found damaged or whole again."""

    checked: int
    bytes_read: int
    damaged: list[str]
    restored: list[str]


class OverQuota(StorageFull):
    """The project holds as many bytes as it may."""

    code = "over_quota"


class Damaged(Conflict):
    """The stored bytes are not those of the digest, or are gone."""

    code = "artifact_damaged"

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"The stored bytes of {digest} are damaged or gone.",
            field="digest",
            hint="Upload the same file again, or have the operator restore it from a backup and scrub.",
        )


class DamagedBytes(Damaged):
    """The same, where the bytes themselves were requested: the fault is the plane's."""

    status = 500


# -- writes ---------------------------------------------------------------------------------------------------------
def publish_upload(
    *,
    actor: Actor,
    project: Project,
    stream: Iterable[bytes],
    expected_digest: str | None = None,
    expected_size: int | None = None,
    name: str = "",
    media_type: str = "",
    may_be_empty: bool = False,
) -> Published:
    """Store the bytes of `stream` and let `project` hold them under the last part of `name`.

    Nothing is published unless size and digest are as announced. Raises TooLarge, Invalid (`digest_mismatch`,
    `empty_body`, `bad_digest`, `bad_media_type`), Malformed (`body_cut_off`), StorageFull, OverQuota.
    """
    policy.require(actor, "artifact.upload", project)
    return publish_stream(actor, project, stream, expected_digest, expected_size, name, media_type, may_be_empty)


def publish_tracked(
    *,
    actor: Actor,
    project: Project,
    stream: Iterable[bytes],
    expected_size: int | None = None,
    name: str = "",
    media_type: str = "",
) -> Published:
    """The same for a file that a client logs to its run or model: with that right alone, and it may be empty."""
    policy.require(actor, "run.track", project)
    return publish_stream(actor, project, stream, None, expected_size, name, media_type, True)


def publish_stream(
    actor: Actor,
    project: Project,
    stream: Iterable[bytes],
    expected_digest: str | None,
    expected_size: int | None,
    name: str,
    media_type: str,
    may_be_empty: bool,
) -> Published:
    media_type = file_names.clean_media_type(media_type)
    if expected_digest is not None:
        validate_digest(expected_digest)
    if expected_size == 0 and not may_be_empty:
        raise build_empty_error()
    limit = settings.ENV.upload_limit_bytes
    if expected_size is not None and expected_size > limit:
        raise build_size_error(limit)
    room = get_free_quota(project, expected_digest, wanted=limit if expected_size is None else expected_size)
    if room is not None and (expected_size or 0) > room:
        raise build_quota_error(project, expected_size or 0)
    with get_store().open_staging(expected_digest) as staging:
        for chunk in stream:
            if staging.size + len(chunk) > limit:
                raise build_size_error(limit)
            if room is not None and staging.size + len(chunk) > room:
                raise build_quota_error(project, staging.size + len(chunk))
            staging.write(chunk)
        if not staging.size and not expected_size and not may_be_empty:
            raise build_empty_error()
        staging.publish(expected_digest, expected_size, is_marked_damaged)
    return register(actor, project, staging.stored, name, media_type)


def get_quota_bytes() -> int:
    """How many bytes a project may hold; 0: no limit."""
    limit = int(settings.ENV.project_quota_bytes)
    if limit >= 0:
        return limit
    space = get_store_space()
    return space[0] // 2 if space else QUOTA_WITHOUT_DISK


def get_free_quota(project: Project, digest: str | None = None, *, wanted: int | None = None) -> int | None:
    """Bytes that the project may still upload; None where there is no limit, or it holds this digest already.

    What jobs make is never refused, so a project may hold more than its limit: then there is no room. Where the whole
    disk of the store holds less than the limit by at least `wanted` bytes, what the project holds is not added up.
    """
    limit = get_quota_bytes()
    if not limit or (digest and Holding.objects.filter(project=project, artifact=digest).exists()):
        return None
    space = get_store_space() if wanted is not None else None
    if space and wanted is not None and limit - space[1] >= wanted:
        return limit - space[1]
    used = Holding.objects.filter(project=project).aggregate(bytes=Sum("artifact__size"))["bytes"] or 0
    return max(0, limit - int(used))


def require_room(project: Project, size: int) -> None:
    """Raise OverQuota where the project may not hold so many bytes more: for several uploads at once."""
    room = get_free_quota(project, wanted=size)
    if room is not None and size > room:
        raise build_quota_error(project, size)


def build_quota_error(project: Project, size: int) -> OverQuota:
    limit = get_quota_bytes()
    return OverQuota(
        "{size} bytes more are too many: the project {project_slug} may hold {most}, {room_of} are left.",
        size=size,
        project_slug=project.slug,
        most=limit,
        room_of=get_free_quota(project),
        field="size",
        limit=limit,
        hint=N_("The operator may raise PROJECT_QUOTA_BYTES, or unused versions may be removed."),
    )


def store_file(*, actor: Actor, project: Project, path: Path, name: str = "", media_type: str = "") -> Artifact:
    """Store a local file, which may be empty, and let `project` hold it. Fencing is the caller's."""
    policy.require(actor, "artifact.upload", project)
    media_type = file_names.clean_media_type(media_type)
    with get_store().open_staging() as staging, path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            staging.write(chunk)
        staging.publish(is_damaged=is_marked_damaged)
    return register(actor, project, staging.stored, name or path.name, media_type).artifact


def adopt(
    *,
    actor: Actor,
    project: Project,
    digest: str,
    size: int,
    name: str = "",
    media_type: str = "",
    chunks: bytes = b"",
    replaced: bool = False,
) -> Artifact:
    """Rows for bytes that the caller has put into the store itself; reads none, so it fits into a transaction.

    `chunks` and `replaced` as of StoredBytes.
    """
    policy.require(actor, "artifact.adopt", project)
    stored = StoredBytes(validate_digest(digest), size, chunks, replaced)
    return register(actor, project, stored, name, file_names.clean_media_type(media_type)).artifact


def hold(*, actor: Actor, project: Project, artifact: Artifact, name: str = "", media_type: str = "") -> Holding:
    """Let `project` hold an artifact that the actor can see already, for instance in another project of theirs."""
    policy.require(actor, "artifact.upload", project)
    if not Artifact.objects.visible_to(actor).filter(pk=artifact.pk).exists():
        raise build_absent_error()
    with transaction.atomic():
        return get_or_create_holding(actor, project, artifact, name, file_names.clean_media_type(media_type))[0]


def register(actor: Actor, project: Project, stored: StoredBytes, name: str, media_type: str) -> Published:
    """The rows of stored bytes. Bytes that were found damaged were set aside then, so these are fresh ones.

    Raises Conflict (`artifact_damaged`) where they were set aside while these came, so that these were not kept.
    """
    digest, size = stored.digest, stored.size
    with transaction.atomic():
        now = timezone.now()
        # The lock on the row comes first: whoever collects garbage holds it while the bytes go.
        Artifact.objects.filter(digest=digest).update(touched_at=now)
        artifact, is_new = Artifact.objects.get_or_create(digest=digest, defaults={"size": size, "verified_at": now})
        if is_new:
            revive([digest])
        repair_row(actor, artifact, stored, now)
        if artifact.chunked_at is None:
            save_chunk_digests([stored], now)
        return Published(*get_or_create_holding(actor, project, artifact, name, media_type))


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


def revive(digests: Sequence[str]) -> None:
    """New rows of these digests: those whose bytes once went as garbage have come again, or came too early (Conflict).

    The caller has just made the rows, which nobody else can lock before it commits: what is there now stays there.
    """
    for part in range(0, len(digests), ARTIFACTS_PER_QUERY):
        part_digests = digests[part : part + ARTIFACTS_PER_QUERY]
        for gone in Collected.objects.filter(pk__in=part_digests):
            if not get_store().exists(gone.digest):
                raise Conflict(
                    "The bytes of {gone_digest} were collected as garbage while they came.",
                    gone_digest=gone.digest,
                    code="artifact_collected",
                    field="digest",
                    hint=N_("Send them again."),
                )
            gone.delete()


def get_or_create_holding(
    actor: Actor, project: Project, artifact: Artifact, name: str, media_type: str
) -> tuple[Holding, bool]:
    """The project's holding and whether it is new. One that exists keeps its first name."""
    holding, is_new = Holding.objects.get_or_create(
        project=project,
        artifact=artifact,
        defaults={"name": file_names.clean_file_name(name), "media_type": media_type, "created_by": actor.label[:200]},
    )
    holding.artifact = artifact
    if is_new:
        record(
            actor=actor,
            action="artifact.hold",
            obj=holding,
            after={"name": holding.name, "size": artifact.size, "media_type": media_type},
            digests={"artifact": artifact.digest},
        )
    return holding, is_new


# -- upkeep ---------------------------------------------------------------------------------------------------------
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


def is_marked_damaged(digest: str) -> bool:
    return Artifact.objects.filter(pk=digest, damaged_at__isnull=False).exists()


def list_damaged_digests() -> set[str]:
    """The digests of all artifacts that are marked damaged: few."""
    return set(Artifact.objects.filter(damaged_at__isnull=False).values_list("digest", flat=True))


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


def sweep_staging(*, actor: Actor, older_than: timedelta = STALE) -> int:
    """Remove what interrupted uploads left in the store's staging; how many."""
    policy.require(actor, "artifact.scrub")
    return get_store().sweep(older_than)


# -- reads ----------------------------------------------------------------------------------------------------------
def get_holding(*, actor: Actor, project: Project, digest: str) -> Holding:
    """The project's holding of this artifact; NotFound for what only other projects hold."""
    policy.require(actor, "artifact.view", project)
    holding = (
        Holding.objects.filter(project=project, artifact=validate_digest(digest)).select_related("artifact").first()
    )
    if holding is None:
        raise build_absent_error()
    return holding


def get_artifact(*, actor: Actor, project: Project, digest: str) -> Artifact:
    """The artifact, if `project` holds it; NotFound otherwise."""
    return get_holding(actor=actor, project=project, digest=digest).artifact


def require_undamaged(artifact: Artifact) -> Artifact:
    """The artifact, unless it is marked damaged."""
    if artifact.damaged_at is not None:
        raise Damaged(artifact.digest)
    return artifact


def build_absent_error() -> NotFound:
    return NotFound("This project holds no such artifact.", field="digest", hint=N_("Upload it: PUT its bytes here."))


def build_empty_error() -> Invalid:
    return Invalid("The body is empty.", code="empty_body", limit=1, hint=N_("Send the bytes of the file as the body."))


def build_size_error(limit: int) -> TooLarge:
    return TooLarge(
        "The upload is larger than {most} bytes.",
        most=limit,
        code="upload_too_large",
        field="Content-Length",
        limit=limit,
        hint=N_("UPLOAD_LIMIT_BYTES sets this limit; a folder can be sent file by file."),
    )
