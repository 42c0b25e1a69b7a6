"""Looks at the evidence of a wave, and what follows from their verdicts.

Until a wave's deadline the gates are those of its plan. The last of these looks spends their whole error; from then on,
while people decide, the wave is watched for harm by tests that hold at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.core.actors import Actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Conflict, PlaneError
from apps.fleet.rollouts.evidence import build_evidence, build_gate_plan, build_watch_plan
from apps.fleet.rollouts.models import Look, Rollout, RolloutDevice, Wave
from apps.fleet.rollouts.notices import notify_of_end, notify_of_hold
from apps.fleet.rollouts.schemas import RolloutPlan
from apps.fleet.rollouts.services.locks import lock_rollout, move_rollout, move_wave
from apps.fleet.rollouts.services.moves import begin_rollback
from apps.fleet.rollouts.services.requests import ask_approvers
from apps.fleet.rollouts.services.waves import get_current_wave, pass_wave
from apps.fleet.rollouts.states import OPEN, UNSETTLED, RolloutState, Stage, Verdict, WaveState
from apps.platform.accounts.actors import build_actor_from_grant
from deepseek.canary.spec import CanaryPlan
from deepseek.messages import N_

Evaluate = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
"""(plan, evidence) -> verdict: deepseek.canary, which the workers call."""


def take_look(actor: Actor, rollout: Rollout, plan: RolloutPlan, evaluate: Evaluate, now: datetime) -> None:
    """Look at the evidence of the wave that runs, where that is due, and do what the verdict says."""
    wave = get_current_wave(Rollout.objects.get(pk=rollout.pk))
    if wave is None or wave.state not in (WaveState.RUNNING, WaveState.HELD) or wave.deadline_at is None:
        return
    gate_plan = build_gate_plan(plan, wave)
    if gate_plan is None:
        pass_settled_wave(actor, rollout, wave, now)
        return
    if Look.objects.filter(wave=wave, is_final=True).exists():
        watch_wave(actor, rollout, wave, plan, gate_plan, evaluate, now)
        return
    final = now >= wave.deadline_at
    if not final and (wave.next_look_at is None or wave.next_look_at > now):
        return
    evidence = build_evidence(rollout, wave, now, final=final, history=wave.history)
    verdict = dict(evaluate(gate_plan.model_dump(mode="json"), evidence))
    with transaction.atomic():
        locked = lock_rollout(rollout, *OPEN)
        current = Wave.objects.select_related("rollout").get(pk=wave.pk)
        if (current.looks, current.state) != (wave.looks, wave.state):
            return  # another dispatcher was faster
        look = store_look(current, verdict, now, evidence, plan)
        act_on_verdict(actor, locked, current, look)


def watch_wave(
    actor: Actor,
    rollout: Rollout,
    wave: Wave,
    plan: RolloutPlan,
    gate_plan: CanaryPlan,
    evaluate: Evaluate,
    now: datetime,
) -> None:
    """Roll back where harm is seen after the last look. Of a look that sees none only its history is kept: approvers
    decide on the evidence of the gates."""
    watch_plan = build_watch_plan(gate_plan)
    if watch_plan is None or (wave.next_look_at is not None and wave.next_look_at > now):
        return
    history = wave.history if (wave.history or {}).get("plan_digest") == watch_plan.compute_digest() else None
    evidence = build_evidence(rollout, wave, now, final=False, history=history)
    verdict = dict(evaluate(watch_plan.model_dump(mode="json"), evidence))
    with transaction.atomic():
        locked = lock_rollout(rollout, *OPEN)
        current = Wave.objects.select_related("rollout").get(pk=wave.pk)
        if (current.looks, current.state, current.next_look_at) != (wave.looks, wave.state, wave.next_look_at):
            return
        if verdict["verdict"] == Verdict.ROLL_BACK:
            act_on_verdict(actor, locked, current, store_look(current, verdict, now, evidence, plan))
            return
        current.history = verdict.get("history")
        current.next_look_at = now + timedelta(seconds=plan.look_seconds)
        current.save(update_fields=["history", "next_look_at"])


def store_look(
    wave: Wave, verdict: dict[str, Any], now: datetime, evidence: Mapping[str, Any], plan: RolloutPlan
) -> Look:
    history = verdict.pop("history", None)
    look = Look.objects.create(
        wave=wave,
        number=wave.looks + 1,
        at=now,
        verdict=verdict["verdict"],
        is_final=verdict["final"],
        document=json.loads(json.dumps(verdict)),
        evidence_digest=sha256_hex(encode_canonical_json(evidence["devices"])),
    )
    wave.verdict, wave.looks, wave.history = look.verdict, look.number, history
    wave.next_look_at = now + timedelta(seconds=plan.look_seconds)
    wave.save(update_fields=["verdict", "looks", "history", "next_look_at"])
    return look


def act_on_verdict(actor: Actor, rollout: Rollout, wave: Wave, look: Look) -> None:
    """Roll back in every state; go on, or hold, while the rollout runs. Under its lock."""
    reason = describe_verdict(look)
    if look.verdict == Verdict.ROLL_BACK:
        begin_rollback(actor, rollout, reason)
        notify_of_end(rollout, reason)
    elif rollout.state != RolloutState.RUNNING:
        return
    elif look.verdict == Verdict.GO_ON and wave.asks_approval:
        ask_or_hold(actor, rollout, wave, look)
    elif look.verdict == Verdict.GO_ON:
        finish_wave(actor, rollout, wave, reason)
    elif look.is_final:
        hold(actor, rollout, wave, reason)


def describe_verdict(look: Look) -> str:
    return " ".join(str(reason["message"]) for reason in look.document["reasons"])[:500]


def ask_or_hold(actor: Actor, rollout: Rollout, wave: Wave, look: Look) -> None:
    """Ask in the name of whoever asked for the start; hold where they may not any more, or nobody could approve."""
    grant = dict(rollout.requester)
    if grant.get("user") is not None:
        grant |= {"token": None, "scopes": None}  # a token that was revoked meanwhile is no reason to stop
    requester = build_actor_from_grant(grant)
    try:
        if requester is None:
            raise Conflict("Nobody can ask the approvers for it.", code="requester_gone", hint=N_("Ask by hand."))
        with transaction.atomic():
            ask_approvers(requester, rollout, wave, look)
    except PlaneError as failure:
        rollout.refresh_from_db()
        hold(actor, rollout, wave, str(failure.message))


def hold(actor: Actor, rollout: Rollout, wave: Wave | None, reason: str) -> None:
    move_rollout(rollout, RolloutState.HELD, actor=actor, reason=reason)
    if wave is not None and Look.objects.filter(wave=wave, is_final=True).exists() and wave.state == WaveState.RUNNING:
        move_wave(wave, WaveState.HELD, actor=actor, reason=reason)
    notify_of_hold(rollout, reason)


def finish_wave(actor: Actor, rollout: Rollout, wave: Wave, reason: str = "") -> None:
    pass_wave(actor, rollout, wave, reason)
    if rollout.state == RolloutState.COMPLETED:
        notify_of_end(rollout)


def pass_settled_wave(actor: Actor, rollout: Rollout, wave: Wave, now: datetime) -> None:
    """A wave that no gate can compare has passed once every device of it has ended, or at its deadline."""
    with transaction.atomic():
        locked = lock_rollout(rollout, *OPEN)
        current = Wave.objects.select_related("rollout").get(pk=wave.pk)
        if locked.state != RolloutState.RUNNING or current.state != WaveState.RUNNING:
            return
        members = RolloutDevice.objects.filter(wave=current)
        is_open_still = members.filter(Q(stage__in=UNSETTLED) | Q(stage=Stage.FAILED, retry_at__isnull=False)).exists()
        if not is_open_still or (current.deadline_at is not None and now >= current.deadline_at):
            finish_wave(actor, locked, current)
