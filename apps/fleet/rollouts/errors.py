"""Refusals that more than one module of rollouts makes."""

from __future__ import annotations

from collections.abc import Iterable

from apps.core.errors import Conflict
from apps.fleet.rollouts.models import Rollout
from deepseek.messages import N_


def build_state_error(rollout: Rollout, allowed: Iterable[str]) -> Conflict:
    return Conflict(
        "The rollout {number} is {state}.",
        number=rollout.pk,
        state=rollout.state,
        code="rollout_state",
        field="state",
        limit=", ".join(allowed),
        hint=N_("Read it again and decide anew."),
    )


def build_busy_error(count: int, others: Iterable[int]) -> Conflict:
    return Conflict(
        "{count} of its devices are in another rollout: {others}.",
        count=count,
        others=", ".join(f"#{number}" for number in others),
        code="devices_in_rollout",
        field="devices",
        limit="devices that no other active rollout has",
        hint=N_("Wait for its end, or abort it."),
    )
