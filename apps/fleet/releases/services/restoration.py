"""After a restore the plane has forgotten releases that devices run: its next ones must be newer than those."""

from __future__ import annotations

from django.db.models import Max

from apps.core import policy
from apps.core.actors import Actor
from apps.fleet.releases.models import Release, SequenceFloor

SKIPPED_SEQUENCES = 1 << 24


def skip_issued_sequences(*, actor: Actor) -> None:
    """Let sequences go on far above the last one known: what does not grow is a downgrade to a device."""
    policy.require(actor, "plane.restore")
    floors = [
        SequenceFloor.objects.aggregate(last=Max("floor"))["last"],
        Release.objects.aggregate(last=Max("sequence"))["last"],
    ]
    SequenceFloor.objects.create(floor=max(filter(None, floors), default=0) + SKIPPED_SEQUENCES)
