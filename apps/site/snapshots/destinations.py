"""The destinations that the operator has named in SNAPSHOT_DESTINATIONS."""

from __future__ import annotations

from django.conf import settings

from apps.core.errors import Conflict, Invalid
from deepseek.messages import N_


def list_destinations() -> dict[str, str]:
    """Address by name, the first one is the default."""
    destinations: dict[str, str] = settings.ENV.list_snapshot_destinations()
    return destinations


def choose_destination(name: str) -> str:
    """The name, checked; the first one for an empty name. Raises Invalid, or Conflict where there is none at all."""
    names = list(list_destinations())
    if not names:
        raise Conflict(
            "This plane has no destination for snapshots.",
            code="snapshot_destination_missing",
            field="destination",
            hint=N_("The operator sets SNAPSHOT_DESTINATIONS, for instance main=file:///mnt/snapshots."),
        )
    if not name:
        return names[0]
    if name not in names:
        raise Invalid(
            "There is no destination {name!r}.",
            name=name[:60],
            field="destination",
            limit=", ".join(names),
            hint=N_("Name one of SNAPSHOT_DESTINATIONS."),
        )
    return name
