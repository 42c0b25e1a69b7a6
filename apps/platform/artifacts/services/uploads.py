"""Uploads and holdings: bytes first into the store, then their rows in one short transaction.

A fault between the two leaves bytes that no row names: unseen by anybody, found again by the next equal upload.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, TooLarge
from apps.platform.accounts.models import Project
from apps.platform.artifacts import file_names
from apps.platform.artifacts.digests import validate_digest
from apps.platform.artifacts.models import Artifact, Collected, Holding
from apps.platform.artifacts.queries import build_absent_error, is_marked_damaged
from apps.platform.artifacts.scanning import UploadScan, record_finding
from apps.platform.artifacts.services.damage import ARTIFACTS_PER_QUERY, repair_row, save_chunk_digests
from apps.platform.artifacts.services.quota import build_quota_error, get_free_quota
from apps.platform.artifacts.store import CHUNK, STALE, StoredBytes
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record
from deepseek.messages import N_


@dataclass(frozen=True, slots=True)
class Published:
    """A stored artifact, the project's holding of it, and whether the project got it only now."""

    holding: Holding
    is_new: bool

    @property
    def artifact(self) -> Artifact:
        return self.holding.artifact


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


def publish_package_file(
    *,
    actor: Actor,
    project: Project,
    stream: Iterable[bytes],
    expected_digest: str,
    expected_size: int,
    name: str,
) -> Published:
    """The same for a file of the package index, with the right to publish there alone."""
    policy.require(actor, "package.publish", project)
    return publish_stream(actor, project, stream, expected_digest, expected_size, name, "", True)


def store_for_plane(
    *,
    actor: Actor,
    stream: Iterable[bytes],
    expected_digest: str | None = None,
    expected_size: int | None = None,
    with_chunks: bool = True,
) -> StoredBytes:
    """Put bytes into the store that no project is to hold; `adopt_for_plane` makes their row. Raises as
    `publish_upload`, without a quota.

    `with_chunks=False`: each byte is hashed once; the digests of the chunks are left to the scrub (`request_scrub`).
    """
    policy.require(actor, "artifact.store_for_plane")
    with get_store().open_staging(expected_digest, with_chunks=with_chunks) as staging, UploadScan() as scan:
        for chunk in stream:
            staging.write(chunk)
            scan.write(chunk)
        require_clean(actor, None, scan, "")
        staging.publish(expected_digest, expected_size, is_marked_damaged)
    return staging.stored


def adopt_for_plane(*, actor: Actor, stored: StoredBytes) -> Artifact:
    """The row of what `store_for_plane` has stored; it reads no bytes, so it fits into a transaction. Something has to
    cite the artifact, or it goes as garbage after its time of grace."""
    policy.require(actor, "artifact.store_for_plane")
    with transaction.atomic():
        return register_artifact(actor, stored)


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
    with get_store().open_staging(expected_digest) as staging, UploadScan() as scan:
        for chunk in stream:
            if staging.size + len(chunk) > limit:
                raise build_size_error(limit)
            if room is not None and staging.size + len(chunk) > room:
                raise build_quota_error(project, staging.size + len(chunk))
            staging.write(chunk)
            scan.write(chunk)
        if not staging.size and not expected_size and not may_be_empty:
            raise build_empty_error()
        require_clean(actor, project, scan, name)
        staging.publish(expected_digest, expected_size, is_marked_damaged)
    return register(actor, project, staging.stored, name, media_type)


def require_clean(actor: Actor, project: Project | None, scan: UploadScan, name: str) -> None:
    """Raise where the scanner found something, with an audit record, or gave no answer."""
    try:
        scan.require_clean()
    except Invalid as error:
        record_finding(actor, project, name, error)
        raise


def store_file(
    *, actor: Actor, project: Project, path: Path, name: str = "", media_type: str = "", is_scanned: bool = False
) -> Artifact:
    """Store a local file, which may be empty, and let `project` hold it. Fencing is the caller's.

    `is_scanned`: what others sent is in it, so the site's scanner looks at it as at an upload, and it raises as that.
    """
    policy.require(actor, "artifact.upload", project)
    media_type = file_names.clean_media_type(media_type)
    with (
        get_store().open_staging() as staging,
        path.open("rb", buffering=0) as file,
        UploadScan() if is_scanned else nullcontext() as scan,
    ):
        while chunk := file.read(CHUNK):
            staging.write(chunk)
            if scan is not None:
                scan.write(chunk)
        if scan is not None:
            require_clean(actor, project, scan, name or path.name)
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
    with transaction.atomic():
        artifact = register_artifact(actor, stored)
        return Published(*get_or_create_holding(actor, project, artifact, name, media_type))


def register_artifact(actor: Actor, stored: StoredBytes) -> Artifact:
    """The row of stored bytes, in the caller's transaction."""
    digest, size = stored.digest, stored.size
    now = timezone.now()
    # The lock on the row comes first: whoever collects garbage holds it while the bytes go.
    Artifact.objects.filter(digest=digest).update(touched_at=now)
    artifact, is_new = Artifact.objects.get_or_create(digest=digest, defaults={"size": size, "verified_at": now})
    if is_new:
        revive([digest])
    repair_row(actor, artifact, stored, now)
    if artifact.chunked_at is None:
        save_chunk_digests([stored], now)
    return artifact


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


def sweep_staging(*, actor: Actor, older_than: timedelta = STALE) -> int:
    """Remove what interrupted uploads left in the store's staging, and those of forms on this host; how many."""
    policy.require(actor, "artifact.scrub")
    return get_store().sweep(older_than) + sweep_forms(Path(settings.FILE_UPLOAD_TEMP_DIR), older_than)


def sweep_forms(folder: Path, older_than: timedelta) -> int:
    """Remove the files of forms whose web process was killed: they lie there in plain, whatever the store does."""
    oldest, removed = time.time() - older_than.total_seconds(), 0
    for path in folder.glob("*.upload*"):
        with suppress(FileNotFoundError, PermissionError):
            if path.stat(follow_symlinks=False).st_mtime <= oldest:
                path.unlink()
                removed += 1
    return removed


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
