"""Names of rollouts, for the sentences of the trail."""

from __future__ import annotations

from collections.abc import Collection

from apps.fleet.rollouts.models import Rollout
from apps.platform.audit.naming.object_names import parse_keys


def name_rollouts(ids: Collection[str]) -> dict[str, str]:
    rollouts = Rollout.objects.filter(pk__in=parse_keys(ids)).values_list("pk", "model_name", "version__number")
    return {str(pk): f"#{pk} {name} v{number}" for pk, name, number in rollouts}
