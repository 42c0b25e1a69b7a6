"""Names of projects and people, for the sentences of the trail."""

from __future__ import annotations

from collections.abc import Collection

from apps.platform.accounts.models import Project, User
from apps.platform.audit.naming.object_names import parse_keys


def name_projects(ids: Collection[str]) -> dict[str, str]:
    return {str(pk): slug for pk, slug in Project.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "slug")}


def name_users(ids: Collection[str]) -> dict[str, str]:
    return {str(pk): name for pk, name in User.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "username")}
