"""Multipart uploads: start, stage parts, complete into one file, abort, and sweep abandoned ones.

A part is known by the digest of its bytes, which is its ETag; so the same part again is the same object, and no table
of parts is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Sum
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound, TooLarge
from apps.core.policy import require
from apps.gateways.mlflow.models import MultipartUpload
from apps.ml.experiments.files.tree import FileRow, Owner, check_new_path
from apps.ml.experiments.services.files import put_file, require_writable
from apps.platform.accounts.models import Project
from apps.platform.artifacts.digests import DIGEST
from apps.platform.artifacts.services import require_room
from apps.platform.artifacts.store import STALE, Store
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.services import record

AREA = "multipart"
PARTS_LIMIT = 10_000  # as S3


def start_upload(*, actor: Actor, project: Project, owner: Owner, path: str, parts: int) -> MultipartUpload:
    """An upload of one file in so many parts; `path` from the root of the artifact store, `owner` the run or model."""
    require(actor, "run.track", project)
    check_new_path(path)
    require_writable(owner, actor)
    if not 1 <= parts <= PARTS_LIMIT:
        raise Invalid(
            f"An upload of {parts} parts is none.",
            code="bad_parts",
            field="num_parts",
            limit=f"1 to {PARTS_LIMIT}",
            hint="Send larger parts: MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE.",
        )
    require_room(project, count_staged_bytes(project) + 1)
    upload = MultipartUpload.objects.create(project=project, path=path, parts=parts, created_by=actor.label)
    record(actor=actor, action="multipart.begin", obj=upload, after={"path": path, "parts": parts})
    return upload


def stage_part(*, actor: Actor, upload: MultipartUpload, stream: Iterable[bytes], size: int | None) -> str:
    """Stage the bytes of one part; their digest is returned. Raises TooLarge, OverQuota, StorageFull, Malformed.

    Telemetry to the trail: the completed file is what counts.
    """
    require(actor, "run.track", upload)
    limit = settings.ENV.upload_limit_bytes
    if (size or 0) + upload.staged > limit:
        raise file_too_large_error(limit)
    require_room(upload.project, (size or 0) + count_staged_bytes(upload.project))
    area = get_staging_area(upload.pk)
    with area.open_staging() as staging:
        for chunk in stream:
            if staging.size + len(chunk) + upload.staged > limit:
                raise file_too_large_error(limit)
            staging.write(chunk)
        was_there = area.exists(staging.digest)
        digest, written = staging.publish(None, size)
    if not was_there and not MultipartUpload.objects.filter(pk=upload.pk).update(staged=F("staged") + written):
        area.clear()  # aborted meanwhile
        raise missing_upload_error(upload.pk)
    return digest


def complete_upload(*, actor: Actor, upload: MultipartUpload, owner: Owner, path: str, parts: Sequence[str]) -> FileRow:
    """The parts, by their digests in order, as one file at `path` of the owner. Afterwards nothing is staged.

    Raises Invalid where one is missing; then the upload stays, to be completed or aborted.
    """
    require(actor, "run.track", upload)
    area = get_staging_area(upload.pk)
    if len(parts) != upload.parts:
        raise Invalid(
            f"{len(parts)} parts are named, the upload has {upload.parts}.",
            code="bad_parts",
            field="parts",
            limit=upload.parts,
            hint="Name every part with the ETag that its upload was answered with.",
        )
    for number, digest in enumerate(parts, 1):
        if not DIGEST.fullmatch(digest) or not area.exists(digest):
            raise Invalid(
                f"Part {number} has not come, or its ETag is another.",
                code="bad_parts",
                field="parts",
                hint="Upload it again, and name the ETag of the answer.",
            )
    size = sum(area.size(digest) for digest in parts)
    row = put_file(actor=actor, owner=owner, path=path, stream=join_parts(area, parts), size=size)
    forget(upload)
    return row


def abort_upload(*, actor: Actor, upload: MultipartUpload) -> None:
    """Forget an upload and its parts."""
    require(actor, "run.track", upload)
    record(actor=actor, action="multipart.abort", obj=upload, before={"path": upload.path})
    forget(upload)


def sweep_uploads(*, actor: Actor, older_than: timedelta = STALE) -> int:
    """Forget the uploads that were begun long ago, and parts that no upload knows; how many."""
    require(actor, "artifact.scrub")
    swept = 0
    for upload in MultipartUpload.objects.filter(created_at__lt=timezone.now() - older_than):
        forget(upload)
        swept += 1
    names = get_store().area(AREA).areas()
    upload_ids = set(MultipartUpload.objects.values_list("pk", flat=True))
    for name in names:
        if name not in upload_ids and not MultipartUpload.objects.filter(pk=name).exists():
            get_staging_area(name).clear()
            swept += 1
    return swept


def count_staged_bytes(project: Project) -> int:
    """Bytes of all uploads of a project that wait for their last part: they take room as files do."""
    return MultipartUpload.objects.filter(project=project).aggregate(bytes=Sum("staged"))["bytes"] or 0


def forget(upload: MultipartUpload) -> None:
    MultipartUpload.objects.filter(pk=upload.pk).delete()
    get_staging_area(upload.pk).clear()


def get_staging_area(name: str) -> Store:
    return get_store().area(AREA, name)


def join_parts(area: Store, parts: Sequence[str]) -> Iterator[bytes]:
    """The bytes of the parts, one after the other; Invalid where the store has others than came."""
    for number, digest in enumerate(parts, 1):
        sha256 = hashlib.sha256()
        with closing(area.open(digest)) as reading:
            for chunk in reading:
                sha256.update(chunk)
                yield chunk
        if sha256.hexdigest() != digest:
            area.remove(digest)
            raise Invalid(
                f"The bytes of part {number} were damaged after they came.",
                code="bad_parts",
                field="parts",
                hint="Upload it again, and complete the upload.",
            )


def file_too_large_error(limit: int) -> TooLarge:
    return TooLarge(
        f"The file has more than {limit} bytes.", field="size", limit=limit, hint="The operator may raise UPLOAD_LIMIT."
    )


def missing_upload_error(upload_id: str) -> NotFound:
    return NotFound(f"There is no upload {upload_id[:40]!r}.", field="upload_id", hint="Begin it again.")
