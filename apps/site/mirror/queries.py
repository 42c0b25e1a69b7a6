"""What pages and REST read of the index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, prefetch_related_objects
from packaging.utils import canonicalize_name
from packaging.version import Version

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import validate_choice
from apps.ml.experiments.models import Run
from apps.site.mirror.models import (
    Advisory,
    AdvisoryFeed,
    Package,
    PackageDependency,
    PackageFile,
    PackageQuerySet,
    PackageVersion,
)
from apps.site.mirror.names import normalize_name
from deepseek.messages import N_

FILTERS = ("q", "advisories", "owner")
OWNERS = ("plane", "projects")
MAX_VERSIONS, MAX_ALL_VERSIONS = 100, 500  # on a page, the newest first, and where all are asked for
MAX_DEPENDENTS = 200
MAX_RUNS = 100  # the newest ones, of which the recorded packages are read


@dataclass(frozen=True, slots=True)
class VersionDetails:
    version: PackageVersion
    files: list[PackageFile]
    advisories: list[Advisory]


@dataclass(frozen=True, slots=True)
class RunUse:
    run: Run
    version: str


def list_packages(actor: Actor, *, q: str = "", advisories: str = "", owner: str = "") -> PackageQuerySet:
    """The packages that fit, with their projects. Raises Invalid for a filter that there is not."""
    policy.require(actor, "package.view")
    validate_choice("advisories", advisories, ("any", "none"))
    validate_choice("owner", owner, OWNERS)
    rows = Package.objects.visible_to(actor).select_related("project")
    if q:
        rows = rows.filter(Q(name__contains=canonicalize_name(q)) | Q(summary__icontains=q))
    if advisories:
        rows = rows.filter(advisory_count__gt=0) if advisories == "any" else rows.filter(advisory_count=0)
    if owner:
        rows = rows.filter(project__isnull=owner == "plane")
    return rows


def get_package(actor: Actor, name: str) -> Package:
    """The package of this name, however it is spelt; NotFound."""
    policy.require(actor, "package.view")
    try:
        normalized = normalize_name(name)
    except Invalid:
        normalized = ""
    package = Package.objects.visible_to(actor).select_related("project").filter(name=normalized).first()
    if package is None:
        raise NotFound(
            "The index has no {name!r}.", name=name[:100], hint=N_("It holds what was published or imported.")
        )
    return package


def get_package_version(actor: Actor, name: str, version: str) -> PackageVersion:
    """One version of a package; NotFound."""
    package = get_package(actor, name)
    row = package.versions.filter(version=version).first()
    if row is None:
        raise NotFound("{package} has no version {version!r}.", package=package.name, version=version[:60])
    row.package = package
    return row


def list_versions(package: Package, limit: int = MAX_VERSIONS) -> list[VersionDetails]:
    """The newest versions with files and advisories, the newest first; four queries."""
    versions = sorted(package.versions.all(), key=lambda version: Version(version.version), reverse=True)[:limit]
    prefetch_related_objects(versions, "files__artifact")
    by_id = {row.advisory_id: row for row in Advisory.objects.filter(package_name=package.name)}
    details = []
    for version in versions:
        version.package = package
        advisories = [by_id[number] for number in version.advisory_ids if number in by_id]
        details.append(VersionDetails(version, sorted(version.files.all(), key=lambda file: file.filename), advisories))
    return details


def list_dependents(package: Package) -> list[str]:
    """Names of the packages of which a version requires this one."""
    rows = PackageDependency.objects.filter(name=package.name).exclude(version__package=package.pk)
    names = rows.values_list("version__package__name", flat=True).distinct().order_by("version__package__name")
    return list(names[:MAX_DEPENDENTS])


def list_run_uses(actor: Actor, package: Package) -> list[RunUse]:
    """Of the newest runs that the actor may see, those that recorded this package, with its version."""
    newest = Run.objects.visible_to(actor).active().select_related("project").order_by("-started_at", "-id")[:MAX_RUNS]
    uses = []
    for run in newest:
        recorded: Mapping[str, Any] = run.environment.get("packages") or {}
        version = next((text for name, text in recorded.items() if canonicalize_name(name) == package.name), None)
        if version:
            uses.append(RunUse(run, str(version)))
    return uses


def get_feed() -> AdvisoryFeed | None:
    """The feed of advisories that counts."""
    return AdvisoryFeed.objects.order_by("-id").first()
