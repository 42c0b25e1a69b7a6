"""Which plane this is, and which others it knows."""

from __future__ import annotations

import socket

from apps.site.transfer.models import AppliedSequence, PeerPlane, PlaneIdentity
from deepseek.bundles.spec import PlaneRef

ROW = 1


def get_identity() -> PlaneRef:
    """The id and name of this plane; the first call makes them."""
    row, _ = PlaneIdentity.objects.get_or_create(pk=ROW, defaults={"name": socket.gethostname()[:200] or "plane"})
    return PlaneRef(row.plane_id, row.name)


def lock_peer(plane: PlaneRef) -> PeerPlane:
    """The row of another plane, locked until the transaction ends."""
    PeerPlane.objects.get_or_create(plane_id=plane.id, defaults={"name": plane.name})
    return PeerPlane.objects.select_for_update().get(plane_id=plane.id)


def lock_applied_sequence(project_id: int, source_id: str) -> AppliedSequence:
    """How far the project has come with the bundles of a source, locked until the transaction ends."""
    AppliedSequence.objects.get_or_create(project_id=project_id, source_id=source_id)
    return AppliedSequence.objects.select_for_update().get(project_id=project_id, source_id=source_id)


def get_applied_sequence(project_id: int, source_id: str, *, plane_contents: bool) -> int:
    """Number that a bundle of the source must exceed; 0 for any.

    That of the newest bundle which the project applied, and for one that changes the plane as a whole (advisories,
    conflict rules, packages, images) also of the newest such bundle, whoever applied it.
    """
    mine = AppliedSequence.objects.filter(project_id=project_id, source_id=source_id)
    applied = mine.values_list("sequence", flat=True).first() or 0
    if plane_contents:
        peers = PeerPlane.objects.filter(plane_id=source_id)
        applied = max(applied, peers.values_list("applied_sequence", flat=True).first() or 0)
    return applied
