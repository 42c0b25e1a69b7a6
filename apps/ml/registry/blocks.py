"""Whether a model version is blocked, for everything that would promote, release, serve or hand it out. Reads only."""

from __future__ import annotations

from collections.abc import Collection

from apps.core.errors import Conflict
from apps.ml.registry.models import AliasMove, Model, ModelVersion, VersionBlock
from apps.ml.registry.queries import get_holders, list_alias_moves
from deepseek.messages import N_


def find_block(version: ModelVersion) -> VersionBlock | None:
    """The block that stands, or None."""
    return VersionBlock.objects.filter(version=version, lifted_at=None).first()


def find_blocked(versions: Collection[int]) -> set[int]:
    """Those of the versions that are blocked, by their keys."""
    return set(VersionBlock.objects.filter(version__in=versions, lifted_at=None).values_list("version_id", flat=True))


def require_unblocked(version: ModelVersion) -> None:
    """Raise Conflict `version_blocked`."""
    block = find_block(version)
    if block is None:
        return
    raise Conflict(
        "{version} is blocked: {reason}",
        version=version,
        reason=block.reason,
        code="version_blocked",
        field="version",
        limit="a version that is not blocked",
        hint=N_("Use another version; an approver can lift the block with a reason."),
    )


def find_rollback(model: Model, alias: str) -> tuple[AliasMove | None, AliasMove | None]:
    """The move that made the alias point to where it does, and the one whose version a rollback restores: the nearest
    below it that is not blocked."""
    top, target = get_holders(model, alias)
    visited: set[int] = set()
    while target is not None and target.pk not in visited:
        if target.to_version.deleted_at is None and find_block(target.to_version) is None:
            return top, target
        visited.add(target.pk)
        below = list_alias_moves(model, alias).filter(pk__lt=target.pk).first()
        target = below.stands_for if below else None
    return top, None
