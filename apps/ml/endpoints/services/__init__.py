"""Every write of endpoints: by people, by the dispatcher that follows aliases, by the keepers of the nodes."""

from apps.ml.endpoints.services.following import follow_alias, follow_aliases
from apps.ml.endpoints.services.predicting import TryAnswer, predict
from apps.ml.endpoints.services.reports import ReplicaReport, forget_replica, move_replica, report_replica
from apps.ml.endpoints.services.requests import (
    create_endpoint,
    delete_endpoint,
    resume_endpoint,
    stop_shadow,
    suspend_endpoint,
    update_endpoint,
)
from apps.ml.endpoints.services.tokens import rotate_token

__all__ = [
    "ReplicaReport",
    "TryAnswer",
    "create_endpoint",
    "delete_endpoint",
    "follow_alias",
    "follow_aliases",
    "forget_replica",
    "move_replica",
    "predict",
    "report_replica",
    "resume_endpoint",
    "rotate_token",
    "stop_shadow",
    "suspend_endpoint",
    "update_endpoint",
]
