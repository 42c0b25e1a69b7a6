"""The lock of a rollout's row, and its moves: every one takes the lock, and says why."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from apps.core.actors import Actor
from apps.fleet.rollouts.errors import build_state_error
from apps.fleet.rollouts.facts import SUBJECT
from apps.fleet.rollouts.models import Rollout, Wave
from apps.fleet.rollouts.states import RolloutState, WaveState
from apps.platform.approvals.services import void_requests
from apps.platform.audit.services import change_state
from deepseek.messages import Message, record_messages

ENDED = (RolloutState.ROLLED_BACK, RolloutState.COMPLETED, RolloutState.ABORTED)


def lock_rollout(rollout: Rollout, *allowed: str) -> Rollout:
    """The row, locked. Raises Conflict `rollout_state` unless it is in one of the allowed states."""
    rows = Rollout.objects.select_for_update(of=("self",))
    locked = rows.select_related("project", "version__model__project", "version__run").get(pk=rollout.pk)
    if allowed and locked.state not in allowed:
        raise build_state_error(locked, allowed)
    return locked


def move_rollout(rollout: Rollout, to: str, *, actor: Actor, action: str = "", reason: str = "", **fields: Any) -> None:
    """Change the state of a locked rollout; the dispatcher looks at it at once."""
    if to in ENDED:
        fields["ended_at"] = timezone.now()
    why = record_messages({"message": reason}) if reason else {}
    change_state(rollout, to, actor=actor, action=action, reason=reason, state_reason=why, next_step_at=None, **fields)


def move_wave(wave: Wave, to: str, *, actor: Actor, reason: str = "", **fields: Any) -> None:
    if to in (WaveState.PASSED, WaveState.STOPPED):
        fields["ended_at"] = timezone.now()
    change_state(wave, to, actor=actor, action=f"rollout.wave_{to}", reason=reason, **fields)


def void_requests_of(rollout: Rollout, *, actor: Actor) -> None:
    """End what approvers are still asked about a rollout that is over."""
    reason = Message("The rollout is over: {state}.", state=rollout.state)
    void_requests(actor=actor, project=rollout.project, subject_type=SUBJECT, subject_id=rollout.pk, reason=reason)


def stop_waves(rollout: Rollout, *, actor: Actor, reason: str = "") -> None:
    """End every wave that has not passed."""
    for wave in rollout.waves.exclude(state__in=(WaveState.PASSED, WaveState.STOPPED)).select_related("rollout"):
        move_wave(wave, WaveState.STOPPED, actor=actor, reason=reason)
