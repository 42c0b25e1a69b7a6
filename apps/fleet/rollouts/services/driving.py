"""The dispatcher's round: every rollout that is due goes as far as it can now.

Each step is one transaction under the lock of the rollout, and looks at rows alone, so a process that is killed between
two of them, or in the middle of one, is followed by another that takes the same steps once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Conflict, PlaneError
from apps.core.policy import require
from apps.fleet.devices.services import note_presence
from apps.fleet.rollouts.models import DRIVEN, Rollout, RolloutDevice, Wave
from apps.fleet.rollouts.planner import Place
from apps.fleet.rollouts.schemas import read_plan
from apps.fleet.rollouts.selection import select_candidates
from apps.fleet.rollouts.services.locks import lock_rollout, move_rollout
from apps.fleet.rollouts.services.looks import Evaluate, hold, take_look
from apps.fleet.rollouts.services.members import assign_members, count_stages, schedule_retries, sync_members
from apps.fleet.rollouts.services.planning import insert_members
from apps.fleet.rollouts.services.rollback import advance_rollback
from apps.fleet.rollouts.services.starting import lock_claims, start_rollout
from apps.fleet.rollouts.services.waves import extend_wave, get_current_wave
from apps.fleet.rollouts.states import OPEN, UNSETTLED, RolloutState, Stage
from apps.fleet.rollouts.windows import is_open
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ENDED, ApprovalState

log = logging.getLogger(__name__)
STEP_SECONDS = 2
COVER_INTERVAL = timedelta(seconds=30)
IDLE_SECONDS = 30  # of a rollout that waits for its start, or covers devices that enrol later
FAULT_SECONDS = 60
ROLLOUTS_PER_ROUND = 50


def advance_rollouts(
    *, actor: Actor, evaluate: Evaluate, stopping: Callable[[], bool] = lambda: False, now: datetime | None = None
) -> int:
    """Take the rollouts that are due as far as they can go; how many. A fault in one delays that one alone."""
    require(actor, "rollout.drive")
    now = now or timezone.now()
    note_presence(actor=actor, now=now)
    due = Rollout.objects.filter(Q(state__in=DRIVEN) | Q(is_covering=True))
    due = due.filter(Q(next_step_at=None) | Q(next_step_at__lte=now)).order_by("pk")
    rollouts = list(due.select_related("project", "version__model__project")[:ROLLOUTS_PER_ROUND])
    for rollout in rollouts:
        if stopping():
            break
        pause = STEP_SECONDS
        try:
            pause = advance_rollout(actor, rollout, evaluate, now)
        except PlaneError as failure:  # a person moved it meanwhile, or something is missing
            log.warning("%s: %s", rollout, failure)
            pause = FAULT_SECONDS if failure.code != "rollout_state" else STEP_SECONDS
        except Exception:
            log.exception("%s", rollout)
            pause = FAULT_SECONDS
        # A move sets it to null, which is at once: it is later only where nothing moved.
        unchanged = Rollout.objects.filter(pk=rollout.pk, state=rollout.state, next_step_at=rollout.next_step_at)
        unchanged.update(next_step_at=now + timedelta(seconds=pause))
    return len(rollouts)


def advance_rollout(actor: Actor, rollout: Rollout, evaluate: Evaluate, now: datetime) -> int:
    """Every step of one rollout that can be taken; seconds until the next."""
    match rollout.state:
        case RolloutState.AWAITING_APPROVAL:
            follow_approval(actor, rollout)
            return STEP_SECONDS
        case RolloutState.APPROVED:
            return start_when_due(actor, rollout, now)
        case RolloutState.ROLLING_BACK:
            advance_rollback(actor, rollout, now)
            return STEP_SECONDS
        case RolloutState.COMPLETED:
            cover_new_devices(actor, rollout, now)
            give_out(actor, rollout, now)
            return IDLE_SECONDS
    plan = read_plan(rollout.plan)
    with transaction.atomic():
        locked = lock_rollout(rollout, *OPEN)
        extend_wave(actor, locked, now)
        sync_members(locked)
        schedule_retries(locked, plan.retry, now)
        count_stages(locked)
        if locked.state == RolloutState.AWAITING_DECISION:
            follow_decision(actor, locked)
    if plan.covers_new and rollout.position == len(plan.waves) - 1:
        cover_new_devices(actor, rollout, now)
    if rollout.state == RolloutState.RUNNING and is_open(plan.schedule, now):
        give_out(actor, rollout, now)
    take_look(actor, rollout, plan, evaluate, now)
    return STEP_SECONDS


# -- approvals ------------------------------------------------------------------------------------------------------
def describe_ending(approval: Approval | None) -> str:
    """Why an approval lets nothing happen; "" while it is open or approved."""
    if approval is None or approval.state not in ENDED or approval.state == ApprovalState.APPROVED:
        return ""
    return f"The approval {approval.pk} is {approval.state}."


def follow_approval(actor: Actor, rollout: Rollout) -> None:
    """A rollout whose approval ended without one is a draft again."""
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.AWAITING_APPROVAL)
        if reason := describe_ending(locked.approval):
            move_rollout(locked, RolloutState.DRAFT, actor=actor, reason=reason)


def follow_decision(actor: Actor, rollout: Rollout) -> None:
    """A rollout whose approvers did not let it go on is held. Under its lock."""
    if reason := describe_ending(rollout.decision):
        hold(actor, rollout, get_current_wave(rollout), reason)


def start_when_due(actor: Actor, rollout: Rollout, now: datetime) -> int:
    schedule = read_plan(rollout.plan).schedule
    if not schedule.automatic or (schedule.start_at is not None and schedule.start_at > now):
        return IDLE_SECONDS
    try:
        start_rollout(actor=actor, rollout=rollout)
    except Conflict as failure:
        if failure.code != "devices_in_rollout":  # else it waits for the other one to end
            raise
        return IDLE_SECONDS
    return STEP_SECONDS


# -- devices --------------------------------------------------------------------------------------------------------
def give_out(actor: Actor, rollout: Rollout, now: datetime) -> None:
    """Assign the release of its architecture to every device of the waves so far."""
    for row in rollout.variants.exclude(release=None).select_related("release__key", "release__variant__version"):
        while give_out_once(actor, rollout, row.architecture, row.release, now):
            pass


def give_out_once(actor: Actor, rollout: Rollout, architecture: str, release: Any, now: datetime) -> int:
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.RUNNING, RolloutState.COMPLETED)
        members = RolloutDevice.objects.filter(rollout=locked, stage=Stage.PLANNED, is_active=True)
        members = members.filter(architecture=architecture, wave__position__lte=locked.position)
        count = assign_members(actor, locked, members, release, Stage.ASSIGNED, Stage.SKIPPED, now)
        if count:
            count_stages(locked)
        return count


def cover_new_devices(actor: Actor, rollout: Rollout, now: datetime) -> None:
    """Let devices that enrolled since belong to the last wave, every COVER_INTERVAL: it takes a look at every device of
    the selection. Of a completed rollout those that have it are let go."""
    if rollout.covered_at is not None and rollout.covered_at <= now < rollout.covered_at + COVER_INTERVAL:
        return
    plan = read_plan(rollout.plan)
    with transaction.atomic():
        locked = lock_rollout(rollout, *OPEN, RolloutState.COMPLETED)
        lock_claims(locked)
        Rollout.objects.filter(pk=locked.pk).update(covered_at=now)
        if locked.state == RolloutState.COMPLETED:
            sync_members(locked)
            ended = RolloutDevice.objects.filter(rollout=locked, is_active=True).exclude(stage__in=UNSETTLED)
            ended.update(is_active=False)
        candidates = select_candidates(locked, plan, is_new=True).candidates
        if candidates:
            waves = list(locked.waves.order_by("position"))
            rank = RolloutDevice.objects.filter(rollout=locked).aggregate(last=Max("rank"))["last"] or 0
            places = [Place(each, rank + number, len(waves) - 1) for number, each in enumerate(candidates, 1)]
            insert_members(locked, waves, places)
            RolloutDevice.objects.filter(rollout=locked, stage=Stage.PLANNED, rank__gt=rank).update(is_active=True)
            Wave.objects.filter(pk=waves[-1].pk).update(devices=waves[-1].devices + len(places))
        count_stages(locked)
