"""Who may do what with a schedule: by roles of its project, or by those of the plane where it belongs to none."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.calendars.models import Schedule


def require(actor: Actor, action: str, where: Project | Schedule | None) -> None:
    """Ask the policy for `action` on the project or schedule; of the plane's for what stands in its place there."""
    if policy.get_project_id(where) is not None:
        policy.require(actor, action, where)
    elif action == "schedule.view":
        policy.require(actor, "schedule.view_plane", where)
    else:
        policy.require(actor, "schedule.manage_plane", where)


def is_allowed(actor: Actor, action: str, where: Project | Schedule | None) -> bool:
    """Whether `require` would pass. For hiding a button."""
    if policy.get_project_id(where) is None:
        action = "schedule.view_plane" if action == "schedule.view" else "schedule.manage_plane"
    return policy.is_allowed(actor, action, where)
