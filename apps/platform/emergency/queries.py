"""Queries on emergency grants."""

from __future__ import annotations

from django.db.models import F, Q

from apps.core import policy
from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.core.errors import NotFound
from apps.platform.accounts.emergency_rights import EmergencyRights
from apps.platform.emergency.models import EmergencyGrant, EmergencyGrantQuerySet, EmergencyKey


def list_grants(actor: Actor) -> EmergencyGrantQuerySet:
    """The grants that the actor may see, with person and project."""
    policy.require(actor, "emergency.view")
    return EmergencyGrant.objects.visible_to(actor).select_related("user", "project")


def get_grant(actor: Actor, pk: int) -> EmergencyGrant:
    grant = list_grants(actor).filter(pk=pk).first()
    if grant is None:
        raise NotFound("There is no such emergency grant, or you may not see it.", field="grant")
    return grant


def find_rights(user_id: int) -> EmergencyRights | None:
    """What is in force for this person now. An auditor gets nothing: that role is combined with no other."""
    grants = EmergencyGrant.objects.in_force().filter(user_id=user_id).exclude(user__system_role=SystemRole.AUDITOR)
    grants = grants.filter(Q(project=None) | Q(project__security_label__lte=F("user__clearance")))
    row = grants.values_list("pk", "project_id", "role").first()
    if row is None:
        return None
    pk, project_id, role = row
    if project_id is None:
        return EmergencyRights(grant_id=pk, system_role=SystemRole(role))
    return EmergencyRights(grant_id=pk, project_roles={project_id: frozenset({ProjectRole(role)})})


def can_confirm(actor: Actor, grant: EmergencyGrant) -> bool:
    """Whether `confirm_grant` would pass, for a button."""
    kind_differs = not grant.user.system_role or actor.system_role != grant.user.system_role
    return policy.is_allowed(actor, "emergency.confirm") and actor.user_id != grant.user_id and kind_differs


def can_end(actor: Actor, grant: EmergencyGrant) -> bool:
    """Whether `end_grant` would pass: of one's own, or as one of the three administrators."""
    is_own = actor.user_id is not None and actor.user_id == grant.user_id
    return policy.is_allowed(actor, "emergency.end") and (is_own or policy.is_allowed(actor, "emergency.confirm"))


def list_current_keys() -> list[EmergencyKey]:
    """The keys that have not been spent, at most one of each slot."""
    return list(EmergencyKey.objects.filter(spent_at=None).order_by("slot"))
