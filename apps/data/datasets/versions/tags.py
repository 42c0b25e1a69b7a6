"""Tags of versions: set, move, remove. A tag never changes the version it names."""

from __future__ import annotations

import re

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.data.datasets.models import DatasetVersion, VersionTag
from apps.platform.audit import services as audit
from deepseek.messages import N_

TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}", re.ASCII)
NUMBER_OR_DIGEST = re.compile(r"[0-9]+|v[0-9]+|[0-9a-f]{7,60}", re.ASCII)
TAGS_LIMIT = 100  # of one version


def tag_version(*, actor: Actor, version: DatasetVersion, name: str, move: bool = False) -> tuple[VersionTag, bool]:
    """Tag this version; return the tag and whether it is new here. Idempotent.

    Raises Invalid for a name that could be taken for a number or a digest, Conflict (`tag_exists`) for one that names
    another version, unless it shall `move`.
    """
    policy.require(actor, "dataset.tag", version)
    check_tag(name)
    with transaction.atomic():
        lock_version(version)
        tag, created = VersionTag.objects.select_for_update().get_or_create(
            dataset_id=version.dataset_id, name=name, defaults={"version": version, "created_by": actor.label}
        )
        if not created and tag.version_id == version.pk:
            return tag, False
        if not created and not move:
            raise build_tag_conflict(tag)
        if created and version.tags.count() > TAGS_LIMIT:
            raise Invalid(
                "{version} has {tags_limit} tags.",
                version=version,
                tags_limit=TAGS_LIMIT,
                field="name",
                limit=TAGS_LIMIT,
                hint=N_("Remove one first."),
            )
        before = {} if created else {"version": tag.version.number}
        VersionTag.objects.filter(pk=tag.pk).update(version=version, created_by=actor.label, created_at=timezone.now())
        audit.record(
            actor=actor,
            action="dataset.tag",
            obj=version,
            before=before,
            after={"tag": name, "version": version.number},
            digests={"manifest": version.digest},
        )
    tag.refresh_from_db()
    return tag, True


def remove_version_tag(*, actor: Actor, version: DatasetVersion, name: str) -> None:
    """Remove the tag. NotFound if it does not name this version."""
    policy.require(actor, "dataset.tag", version)
    with transaction.atomic():
        gone, _ = VersionTag.objects.filter(dataset_id=version.dataset_id, version=version, name=name).delete()
        if not gone:
            raise NotFound(
                "{version} has no tag {name!r}.",
                version=version,
                name=name[:60],
                field="name",
                hint=N_("Read the version for its tags."),
            )
        audit.record(
            actor=actor,
            action="dataset.untag",
            obj=version,
            before={"tag": name, "version": version.number},
            digests={"manifest": version.digest},
        )


def lock_version(version: DatasetVersion) -> DatasetVersion:
    """Lock the row of the version; Conflict if it was deleted meanwhile."""
    locked = DatasetVersion.objects.select_for_update().filter(pk=version.pk, deleted_at=None).first()
    if locked is None:
        raise Conflict(
            "{version} is deleted.",
            version=version,
            code="version_deleted",
            field="version",
            hint=N_("List the versions."),
        )
    return locked


def is_tag(name: str) -> bool:
    """Whether this is a valid tag name, which can be confused with neither a number nor a digest."""
    return TAG.fullmatch(name) is not None and NUMBER_OR_DIGEST.fullmatch(name) is None


def check_tag(name: str) -> None:
    if not is_tag(name):
        raise Invalid(
            "{name!r} cannot be a tag.",
            name=name[:70],
            code="bad_tag",
            field="name",
            limit="1 to 60 lower-case letters, digits, dots, hyphens and underscores; no number and no digest",
            hint=N_("For instance approved-2026 or v1-approved."),
        )


def build_tag_conflict(tag: VersionTag) -> Conflict:
    return Conflict(
        "The tag {tag_name} names {tag_version} already.",
        tag_name=tag.name,
        tag_version=tag.version,
        code="tag_exists",
        field="name",
        hint=N_("Say that it shall move, or choose another name."),
    )
