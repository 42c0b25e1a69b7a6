"""Which plane this is, and which others it knows."""

from __future__ import annotations

import socket

from apps.site.transfer.models import PeerPlane, PlaneIdentity
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


def get_applied_sequence(plane_id: str) -> int:
    """Number of the newest bundle of that plane that was applied here; 0 for none."""
    return PeerPlane.objects.filter(plane_id=plane_id).values_list("applied_sequence", flat=True).first() or 0
