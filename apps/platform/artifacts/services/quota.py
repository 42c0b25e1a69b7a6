"""How many bytes a project may hold, and how many it still may upload."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Sum

from apps.core.errors import StorageFull
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.stores import get_store_space
from deepseek.messages import N_

QUOTA_WITHOUT_DISK = 10**12  # bytes of a project where the store is no folder, unless the operator sets a quota


class OverQuota(StorageFull):
    """The project holds as many bytes as it may."""

    code = "over_quota"


def get_quota_bytes() -> int:
    """How many bytes a project may hold; 0: no limit."""
    limit = int(settings.ENV.project_quota_bytes)
    if limit >= 0:
        return limit
    space = get_store_space()
    return space[0] // 2 if space else QUOTA_WITHOUT_DISK


def get_free_quota(project: Project, digest: str | None = None, *, wanted: int | None = None) -> int | None:
    """Bytes that the project may still upload; None where there is no limit, or it holds this digest already.

    What jobs make is never refused, so a project may hold more than its limit: then there is no room. Where the whole
    disk of the store holds less than the limit by at least `wanted` bytes, what the project holds is not added up.
    """
    limit = get_quota_bytes()
    if not limit or (digest and Holding.objects.filter(project=project, artifact=digest).exists()):
        return None
    space = get_store_space() if wanted is not None else None
    if space and wanted is not None and limit - space[1] >= wanted:
        return limit - space[1]
    used = Holding.objects.filter(project=project).aggregate(bytes=Sum("artifact__size"))["bytes"] or 0
    return max(0, limit - int(used))


def require_room(project: Project, size: int) -> None:
    """Raise OverQuota where the project may not hold so many bytes more: for several uploads at once."""
    room = get_free_quota(project, wanted=size)
    if room is not None and size > room:
        raise build_quota_error(project, size)


def build_quota_error(project: Project, size: int) -> OverQuota:
    limit = get_quota_bytes()
    return OverQuota(
        "{size} bytes more are too many: the project {project_slug} may hold {most}, {room_of} are left.",
        size=size,
        project_slug=project.slug,
        most=limit,
        room_of=get_free_quota(project),
        field="size",
        limit=limit,
        hint=N_("The operator may raise PROJECT_QUOTA_BYTES, or unused versions may be removed."),
    )
