"""What rollouts need of the registry: the versions that they give to devices."""

from django.db.models import QuerySet

from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.states import RolloutState
from apps.ml.registry.models import ModelVersion
from deepseek.messages import Message


def find_version_use(versions: QuerySet[ModelVersion]) -> Message | None:
    """The first rollout of one of the versions that has not been aborted. Registered in VERSION_USES."""
    rows = Rollout.objects.filter(version__in=versions).exclude(state=RolloutState.ABORTED)
    rollout = rows.order_by("pk").first()
    return Message("The rollout {number} gives it to devices.", number=rollout.pk) if rollout else None
