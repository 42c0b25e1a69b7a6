"""Deletion of a version that nothing cites, and its restoration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.data.datasets.labels.inheritance import keep_label_of_bytes
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.quality.profile_job_retention import forget_measurements
from apps.data.datasets.versions.citations import list_citations
from apps.data.datasets.versions.manifest import VersionFile
from apps.data.datasets.versions.tags import lock_version
from apps.platform.artifacts.bulk_sql import insert
from apps.platform.artifacts.models import Artifact
from apps.platform.audit import services as audit
from apps.platform.holds.queries import refuse_held
from deepseek.messages import Message

REASON_LIMIT = 500


def delete_version(*, actor: Actor, version: DatasetVersion, reason: str) -> DatasetVersion:
    """Delete the files of a version that nothing cites. Its number, digest, manifest and deletion record stay.

    What only measured it goes with it. The bytes go later, with the garbage, where nothing else needs them. Raises
    Invalid without a reason, Conflict (`version_cited`) with everything that cites it, or (`held`) with the reason of a
    legal hold.
    """
    policy.require(actor, "dataset.delete_version", version)
    reason = reason.strip()
    if not reason or len(reason) > REASON_LIMIT:
        raise Invalid("Say why it goes.", field="reason", limit=f"1 to {REASON_LIMIT} characters")
    with transaction.atomic():
        locked = lock_version(version)
        refuse_held(locked.dataset.project_id, ("datasetversion", str(locked.pk)))
        report = locked.quality_id
        measured_by = forget_measurements(actor, locked)
        cited = list_citations(locked)
        if cited:
            raise build_cited_error(locked, [f"{citation.kind} {citation.label}" for citation in cited])
        keep_label_of_bytes(locked)
        locked.files.all().delete()
        changes = {
            "deleted_at": timezone.now(),
            "deleted_by": actor.label[:200],
            "delete_reason": reason,
            "quality": None,
        }
        DatasetVersion.objects.filter(pk=locked.pk).update(**changes)
        audit.record(
            actor=actor,
            action="dataset.delete_version",
            obj=locked,
            reason=reason,
            before={
                "dataset": locked.dataset.name,
                "number": locked.number,
                "size": locked.size,
                "measured_by": measured_by,
            },
            digests={"manifest": locked.digest, **({"quality": report} if report else {})},
        )
    locked.refresh_from_db()
    return locked


def insert_files(
    version: DatasetVersion, files: Sequence[VersionFile], part_rows: Mapping[str, int] | None = None
) -> None:
    """Insert the rows of a version's files; `part_rows`: how many rows each part of a table has."""
    counts = part_rows or {}
    rows = ((version.pk, path, artifact.digest, kind, counts.get(path)) for path, artifact, kind in files)
    insert(DatasetFile, ("version_id", "path", "artifact_id", "media_type", "rows"), rows)


def restore_version(
    actor: Actor,
    version: DatasetVersion,
    files: list[VersionFile],
    quality: Artifact | None = None,
    part_rows: Mapping[str, int] | None = None,
) -> None:
    """Restore a deleted version whose files were added again. Call it in the transaction that adds them.

    `quality`: the report that has come with them; the one it had has gone.
    """
    insert_files(version, files, part_rows if version.parts else None)
    DatasetVersion.objects.filter(pk=version.pk).update(
        deleted_at=None, deleted_by="", delete_reason="", quality=quality
    )
    audit.record(
        actor=actor,
        action="dataset.restore_version",
        obj=version,
        before={"deleted_by": version.deleted_by, "reason": version.delete_reason},
        digests={"manifest": version.digest, **({"quality": quality.digest} if quality else {})},
    )
    version.refresh_from_db()


def build_cited_error(version: DatasetVersion, names: list[str]) -> Conflict:
    return Conflict(
        (
            Message(
                "{version} is cited by {names} and {count} more.", version=version, names=names[0], count=len(names) - 1
            )
            if len(names) > 1
            else Message("{version} is cited by {names}.", version=version, names=names[0])
        ),
        code="version_cited",
        field="version",
        limit="a version that nothing cites",
        hint=Message("Cited by: {names}.", names="; ".join(names)),
    )
