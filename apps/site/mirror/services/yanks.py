"""Yank a version (PEP 592): who pins it still gets it, with a warning; nobody else does."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.platform.audit.services import record
from apps.site.mirror.models import PackageVersion
from apps.site.mirror.services.index_rows import lock_index, mark_changed, refresh_package
from deepseek.messages import N_

MAX_REASON = 500


def yank_version(*, actor: Actor, version: PackageVersion, reason: str) -> PackageVersion:
    """Withdraw a version for a reason, which installers print. Raises Invalid, Conflict (`package_yanked`)."""
    policy.require(actor, "package.yank", version)
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON or not reason.isprintable():
        raise Invalid(
            "The reason must be a text of one line.",
            field="reason",
            limit=f"1 to {MAX_REASON} printable characters",
            hint=N_("Say why: pip prints it to whoever pins the version."),
        )
    return set_yanked(actor, version, reason)


def unyank_version(*, actor: Actor, version: PackageVersion) -> PackageVersion:
    """Offer a yanked version again. Raises Conflict (`package_not_yanked`)."""
    policy.require(actor, "package.yank", version)
    return set_yanked(actor, version, "")


def set_yanked(actor: Actor, version: PackageVersion, reason: str) -> PackageVersion:
    """Yank for a reason, or with none take that back; compare-and-set on the state that was read."""
    now = timezone.now()
    with transaction.atomic():
        index = lock_index()
        rows = PackageVersion.objects.filter(pk=version.pk, yanked_at__isnull=bool(reason))
        moved = rows.update(
            yanked_at=now if reason else None, yanked_by=actor.label[:200] if reason else "", yank_reason=reason
        )
        if not moved:
            raise build_yank_conflict(version, is_yanked=bool(reason))
        refresh_package(version.package)
        mark_changed(index, [version.package], now)
        record(
            actor=actor,
            action="package.yank" if reason else "package.unyank",
            obj=version.package,
            reason=reason,
            after={"version": version.version, "yanked": bool(reason)},
        )
    version.refresh_from_db()
    return version


def build_yank_conflict(version: PackageVersion, *, is_yanked: bool) -> Conflict:
    if is_yanked:
        return Conflict("{version} is yanked already.", version=str(version), code="package_yanked", field="version")
    return Conflict("{version} is not yanked.", version=str(version), code="package_not_yanked", field="version")
