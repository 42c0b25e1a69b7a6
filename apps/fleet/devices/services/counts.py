"""The counts of devices by state and running release, changed by the writes that change what they count."""

from __future__ import annotations

from collections import Counter

from apps.core.db.fast_sql import execute

Group = tuple[str, int]
"""(state, key of the running release or 0)"""
ADD = (
    "INSERT INTO devices_devicecount (project_id, state, release_id, devices) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (project_id, state, release_id) DO UPDATE SET devices = devices_devicecount.devices + excluded.devices"
)


def move_counts(project_id: int, changes: Counter[Group]) -> None:
    """Add to the counts of several groups at once. Within the transaction that moves the devices."""
    for (state, release_id), change in sorted(changes.items()):
        if change:
            execute(ADD, [project_id, str(state), release_id, change])


def move_count(project_id: int, before: Group | None, after: Group | None) -> None:
    """Count a device no longer in one group but in another. Within the transaction that moves it.

    The rows are taken in one order, so that two that move in opposite directions do not wait for each other.
    """
    changes: Counter[Group] = Counter()
    if before is not None:
        changes[before] -= 1
    if after is not None:
        changes[after] += 1
    move_counts(project_id, changes)
