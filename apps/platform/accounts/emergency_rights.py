"""Rights of an emergency grant, which an app above this one keeps: what the actor of a person has besides their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from apps.core.actors import ProjectRole, SystemRole
from apps.core.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyRights:
    """Either a system role or roles in one project."""

    grant_id: int
    system_role: SystemRole | None = None
    project_roles: Mapping[int, frozenset[ProjectRole]] = field(default_factory=dict)


EMERGENCY_RIGHTS: Registry[Callable[[int], EmergencyRights | None]] = Registry("EMERGENCY_RIGHTS")
"""By app: (id of a user) -> the rights that are in force for them now, or None. One query."""


def find_emergency_rights(user_id: int) -> EmergencyRights | None:
    return next((rights for find in EMERGENCY_RIGHTS.values() if (rights := find(user_id)) is not None), None)
