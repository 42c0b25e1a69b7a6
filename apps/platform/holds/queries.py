"""Queries on legal holds. Every deletion checks here first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, NotFound
from apps.platform.accounts.models import Project
from apps.platform.holds.models import Hold, HoldQuerySet
from deepseek.messages import N_


def list_holds(actor: Actor, project: Project, *, all_of_them: bool = False) -> HoldQuerySet:
    """The holds of a project, those in force unless `all_of_them`."""
    policy.require(actor, "hold.view", project)
    holds = Hold.objects.visible_to(actor).filter(project=project)
    return holds if all_of_them else holds.filter(released_at=None)


def get_hold(actor: Actor, project: Project, pk: int) -> Hold:
    policy.require(actor, "hold.view", project)
    hold = Hold.objects.visible_to(actor).filter(project=project, pk=pk).select_related("project").first()
    if hold is None:
        raise NotFound("There is no such hold, or you may not see it.", field="hold")
    return hold


def find_hold_reason(project_id: int, objects: Iterable[tuple[str, str]]) -> str:
    """Why one of `objects` (type, id), or their whole project, is held; "" where nothing holds them."""
    targets = {("project", ""), *objects}
    holds = Hold.objects.filter(project=project_id, released_at=None, object_type__in={kind for kind, _ in targets})
    for hold in holds.filter(object_id__in={pk for _, pk in targets}).order_by("pk"):
        if (hold.object_type, hold.object_id) in targets:
            return f"hold {hold.pk} on {'the project' if hold.object_type == 'project' else hold}: {hold.reason}"
    return ""


def find_held_ids(project_id: int, object_type: str, ids: Collection[str] | QuerySet[Any, str]) -> dict[str, str]:
    """{id: why} of those of `ids`, which may be a query of one column, that a hold of their own covers."""
    among = ids if isinstance(ids, QuerySet) else list(ids)
    holds = Hold.objects.filter(
        project=project_id, released_at=None, object_type=object_type, object_id__in=among
    ).order_by("pk")
    return {hold.object_id: f"hold {hold.pk} on {hold}: {hold.reason}" for hold in holds}


def refuse_held(project_id: int, *objects: tuple[str, str]) -> None:
    """Raise Conflict (`held`) where a hold covers one of `objects` (type, id) or the project."""
    if why := find_hold_reason(project_id, objects):
        raise build_held_error(why)


def build_held_error(why: str) -> Conflict:
    return Conflict(
        "It must not be deleted: {why}",
        why=why,
        code="held",
        field="hold",
        limit="what no hold covers",
        hint=N_("An auditor releases holds."),
    )
