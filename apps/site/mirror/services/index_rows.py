"""Rows of the index: who may add what under which name, and what a new file changes.

Whoever writes calls `lock_index` first, in a transaction: names that look alike are then compared one after another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from django.conf import settings
from django.db.models import Count
from packaging.utils import canonicalize_name
from packaging.version import Version

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.site.mirror.advisory_matching import list_advisory_ids
from apps.site.mirror.distributions import Distribution
from apps.site.mirror.models import IndexSerial, Package, PackageDependency, PackageFile, PackageVersion
from apps.site.mirror.names import build_skeleton, is_reserved
from deepseek.messages import N_

ROW = 1  # the one of IndexSerial


def lock_index() -> IndexSerial:
    """The row of the serial, locked until the transaction ends."""
    row = IndexSerial.objects.select_for_update().filter(pk=ROW).first()
    if row is None:
        IndexSerial.objects.get_or_create(pk=ROW)
        row = IndexSerial.objects.select_for_update().get(pk=ROW)
    return row


def mark_changed(index: IndexSerial, packages: Collection[Package], now: datetime) -> None:
    """Count one change: pages of these packages, and the list of all, are rendered anew."""
    index.serial, index.changed_at = index.serial + 1, now
    index.save(update_fields=["serial", "changed_at"])
    Package.objects.filter(pk__in=[package.pk for package in packages]).update(serial=index.serial, changed_at=now)


# -- names ----------------------------------------------------------------------------------------------------------
def check_name(
    name: str, project: Project | None, *, accepted: Collection[str] = (), siblings: Iterable[str] = ()
) -> None:
    """Raise unless the project (None: the operator) may publish under this name.

    `accepted`: names that the operator lets in although they look like another; `siblings`: names that come with it.

    Raises Refused (`package_name_reserved`, `package_of_another_project`), Invalid (`package_name_confusable`).
    """
    package = Package.objects.select_related("project").filter(name=name).first()
    if project is not None and is_reserved(name, settings.ENV.index_reserved):
        raise Refused(
            "The operator alone publishes {name}.",
            name=name,
            code="package_name_reserved",
            action="package.publish",
            project_id=project.pk,
            field="name",
            limit=", ".join(settings.ENV.index_reserved),
            hint=N_("Choose another name; INDEX_RESERVED lists the reserved ones."),
        )
    if package is not None:
        check_owner(package, project)
        return
    lookalike = find_lookalike(name, siblings)
    if lookalike and name not in accepted:
        raise Invalid(
            "{name} looks like {lookalike}, which is another package.",
            name=name,
            lookalike=lookalike,
            code="package_name_confusable",
            field="name",
            hint=N_("Choose a name that nobody mistakes for it; of a folder, the operator may --accept it."),
        )


def check_owner(package: Package, project: Project | None) -> None:
    if package.project_id == (project.pk if project else None):
        return
    owner = package.project.slug if package.project else "the plane"
    raise Refused(
        "{name} belongs to {owner}, which alone publishes it.",
        name=package.name,
        owner=owner,
        code="package_of_another_project",
        action="package.publish",
        project_id=project.pk if project else None,
        object_type="package",
        object_id=package.pk,
        field="name",
        hint=N_("Choose another name, or publish with a token of that project."),
    )


def find_lookalike(name: str, siblings: Iterable[str]) -> str:
    """A name of the index, or of those that come with it, that looks like this one; else ""."""
    skeleton = build_skeleton(name)
    for other in siblings:
        if other != name and build_skeleton(other) == skeleton:
            return other
    look_alikes = Package.objects.filter(skeleton=skeleton).exclude(name=name)
    return look_alikes.order_by("pk").values_list("name", flat=True).first() or ""


# -- files ----------------------------------------------------------------------------------------------------------
def find_published(filename: str, digest: str) -> PackageFile | None:
    """The file of this name, if it has these bytes; Conflict (`package_file_exists`) if it has others."""
    published = PackageFile.objects.filter(filename=filename).first()
    if published is not None and published.artifact_id != digest:
        raise Conflict(
            "File {filename} already exists, with other bytes.",
            filename=filename,
            code="package_file_exists",
            field="content",
            limit=f"sha256 {published.artifact_id}",
            hint=N_("A file is never replaced: publish a new version or another build number."),
        )
    return published


def add_file(
    actor: Actor,
    distribution: Distribution,
    project: Project | None,
    artifact: Artifact,
    metadata: Artifact | None,
    now: datetime,
) -> PackageFile:
    """The rows of one file, with those of its version and package where it is their first."""
    package, _ = Package.objects.get_or_create(
        name=distribution.name,
        defaults={
            "display_name": distribution.display_name,
            "skeleton": build_skeleton(distribution.name),
            "project": project,
            "summary": distribution.summary,
            "changed_at": now,
            "created_by": actor.label[:200],
        },
    )
    version, is_new = PackageVersion.objects.get_or_create(
        package=package,
        version=str(distribution.version),
        defaults={"advisory_ids": list_advisory_ids(distribution.name, distribution.version)},
    )
    version.package = package
    if is_new:
        names = {str(canonicalize_name(requirement.name)) for requirement in distribution.requirements}
        PackageDependency.objects.bulk_create(PackageDependency(version=version, name=name) for name in sorted(names))
    return PackageFile.objects.create(
        version=version,
        filename=distribution.filename,
        filetype=distribution.filetype,
        artifact=artifact,
        metadata=metadata,
        requires_python=distribution.requires_python,
        requires_dist=list(distribution.requires_dist),
        uploaded_by=actor.label[:200],
        uploaded_at=now,
    )


def refresh_package(package: Package, summary: str | None = None) -> None:
    """What the list shows of its versions: how many there are, and the newest that is not yanked."""
    versions = list(package.versions.annotate(count=Count("files")).filter(count__gt=0))
    usable = [version for version in versions if version.yanked_at is None]
    newest = max(usable, key=lambda version: rank_version(version.version), default=None)
    package.version_count = len(versions)
    package.latest_version = newest.version if newest else ""
    package.advisory_count = len(newest.advisory_ids) if newest else 0
    if summary:
        package.summary = summary
    package.save(update_fields=["version_count", "latest_version", "advisory_count", "summary"])


def rank_version(text: str) -> tuple[bool, Version]:
    """Releases before previews."""
    version = Version(text)
    return not version.is_prerelease, version
