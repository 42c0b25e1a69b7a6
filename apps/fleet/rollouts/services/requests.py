"""Approvals of rollouts: asked for before the first wave, and after a wave with its evidence; and what follows."""

from __future__ import annotations

import json

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.fleet.releases.samples import find_samples
from apps.fleet.rollouts.facts import START, SUBJECT, build_start_facts, build_wave_facts
from apps.fleet.rollouts.models import Look, Rollout, Wave
from apps.fleet.rollouts.schemas import read_plan
from apps.fleet.rollouts.services.locks import lock_rollout, move_rollout
from apps.fleet.rollouts.services.planning import store_plan
from apps.fleet.rollouts.services.waves import get_current_wave, pass_wave
from apps.fleet.rollouts.states import RolloutState, WaveState
from apps.ml.registry.promotion.facts import find_missing_bytes
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import request_approval
from apps.platform.artifacts.queries import Damaged
from deepseek.messages import N_


def request_start(*, actor: Actor, rollout: Rollout, comment: str = "") -> Rollout:
    """Plan the waves now, and ask the approvers for exactly this plan.

    Raises Conflict `rollout_state`, `no_devices`, `release_needs_samples`, and what `request_approval` raises; Damaged
    where bytes of the version are not whole.
    """
    require(actor, "rollout.request_start", rollout)
    check_samples(rollout)
    damaged = find_missing_bytes(rollout.version)  # outside the transaction: it takes as long as the bytes are many
    if damaged is not None:
        raise Damaged(damaged)
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.DRAFT)
        store_plan(locked)
        if not locked.preview["devices"]:
            raise Conflict(
                "No device can be given {version}.",
                version=locked.version,
                code="no_devices",
                field="query",
                limit=", ".join(f"{count} {reason}" for reason, count in locked.preview["excluded"].items()) or None,
                hint=N_("Widen the selection, or name variants for the devices' architectures."),
            )
        grant = {**actor.as_record(), "scopes": None if actor.scopes is None else sorted(actor.scopes)}
        move_rollout(locked, RolloutState.AWAITING_APPROVAL, actor=actor, requester=grant)
        locked.approval = request_approval(
            actor=actor,
            project=locked.project,
            subject_type=SUBJECT,
            subject_id=locked.pk,
            title=f"Roll out {locked.version} to {locked.preview['devices']} devices"[:200],
            facts=build_start_facts(locked),
            comment=comment,
        )
        locked.save(update_fields=["approval"])
    return locked


def check_samples(rollout: Rollout) -> None:
    """Raise Conflict for a variant whose release would be refused at the start."""
    if read_plan(rollout.plan).without_samples:
        return
    for row in rollout.variants.select_related("variant__version__model"):
        if find_samples(row.variant) is None:
            raise Conflict(
                "{variant} has no samples by which a device could check it.",
                variant=row.variant,
                code="release_needs_samples",
                field="without_samples",
                limit="samples of this variant",
                hint=N_("Make them: POST .../releases/samples. Or send without_samples: devices then only open it."),
            )


def request_decision(*, actor: Actor, rollout: Rollout, comment: str = "") -> Rollout:
    """Ask the approvers to let the next wave begin although the gate could not decide.

    Raises Conflict `rollout_state`, `no_evidence`, and what `request_approval` raises.
    """
    require(actor, "rollout.request_decision", rollout)
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.HELD)
        wave = get_current_wave(locked)
        look = wave.evidence.order_by("-number").first() if wave else None
        if wave is None or look is None:
            raise Conflict(
                "The wave has no evidence yet.", code="no_evidence", field="wave", hint=N_("Wait for its next look.")
            )
        ask_approvers(actor, locked, wave, look, comment)
    return locked


def ask_approvers(actor: Actor, rollout: Rollout, wave: Wave, look: Look, comment: str = "") -> None:
    """Ask for the next wave on the evidence of the last look. Under the lock of the rollout."""
    move_rollout(rollout, RolloutState.AWAITING_DECISION, actor=actor)
    rollout.decision = request_approval(
        actor=actor,
        project=rollout.project,
        subject_type=SUBJECT,
        subject_id=rollout.pk,
        title=f"Go on with {rollout.version} after wave {wave.position + 1}: {look.verdict}"[:200],
        facts=build_wave_facts(rollout, wave, look),
        comment=comment,
        follows=rollout.approval,
    )
    rollout.save(update_fields=["decision"])


def accept_approval(*, actor: Actor, rollout: Rollout, approval: Approval) -> None:
    """Do what the last vote lets happen: let the rollout start, or its next wave begin."""
    require(actor, "approval.decide", approval)
    require_confirmed(actor, "approval.decide", project_id=approval.project_id)
    with transaction.atomic():
        if json.loads(approval.facts)["stage"] == START:
            locked = lock_rollout(rollout, RolloutState.AWAITING_APPROVAL)
            move_rollout(locked, RolloutState.APPROVED, actor=actor)
            return
        locked = lock_rollout(rollout, RolloutState.AWAITING_DECISION)
        wave = get_current_wave(locked)
        if wave is not None and wave.state in (WaveState.RUNNING, WaveState.HELD):
            pass_wave(actor, locked, wave)
