"""Names of approvals, for the sentences of the trail."""

from __future__ import annotations

from collections.abc import Collection

from apps.platform.approvals.models import Approval
from apps.platform.audit.naming.object_names import parse_keys


def name_approvals(ids: Collection[str]) -> dict[str, str]:
    titles = Approval.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "title")
    return {str(pk): f"#{pk} {title}" for pk, title in titles}
