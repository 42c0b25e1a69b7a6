"""Every write of rollouts: by people, by approvals, and step by step by the dispatcher."""

from apps.fleet.rollouts.services.drafts import create_rollout, preview_rollout
from apps.fleet.rollouts.services.driving import advance_rollouts
from apps.fleet.rollouts.services.moves import (
    abort_rollout,
    abort_rollouts_of_version,
    pause_rollout,
    resume_rollout,
    retry_devices,
    roll_back,
)
from apps.fleet.rollouts.services.requests import accept_approval, request_decision, request_start
from apps.fleet.rollouts.services.starting import start_rollout

__all__ = [
    "abort_rollout",
    "abort_rollouts_of_version",
    "accept_approval",
    "advance_rollouts",
    "create_rollout",
    "pause_rollout",
    "preview_rollout",
    "request_decision",
    "request_start",
    "resume_rollout",
    "retry_devices",
    "roll_back",
    "start_rollout",
]
