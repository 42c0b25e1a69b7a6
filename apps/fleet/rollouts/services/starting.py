"""The start of an approved rollout: the facts are compared once more, releases are signed, devices are claimed."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.fleet.releases.models import Release
from apps.fleet.releases.services import issue_release
from apps.fleet.releases.states import KeyState, ReleaseState
from apps.fleet.rollouts.errors import build_busy_error
from apps.fleet.rollouts.models import Rollout, RolloutDevice, RolloutVariant
from apps.fleet.rollouts.schemas import read_plan
from apps.fleet.rollouts.services.locks import lock_rollout, move_rollout
from apps.fleet.rollouts.services.waves import begin_wave
from apps.fleet.rollouts.states import RolloutState
from apps.platform.accounts.models import Project
from apps.platform.approvals.differences import find_changes
from apps.platform.approvals.models import Approval
from apps.platform.approvals.validation import build_void_error


def start_rollout(*, actor: Actor, rollout: Rollout) -> Rollout:
    """Begin the first wave. What was approved is compared with what stands, bytes and all: where a fact has changed,
    the rollout is a draft again and the error names each.

    Raises Conflict `rollout_state`, `approval_void`, `devices_in_rollout`, and what `issue_release` raises.
    """
    require(actor, "rollout.start", rollout)
    rollout = lock_free_copy(rollout)
    approval = rollout.approval
    if rollout.state != RolloutState.APPROVED or approval is None:
        lock_rollout(rollout, RolloutState.APPROVED)  # raises
    changes = find_changes(approval, deep=True) if approval else []
    if changes:
        fault = build_void_error(changes)
        with transaction.atomic():
            locked = lock_rollout(rollout, RolloutState.APPROVED)
            move_rollout(locked, RolloutState.DRAFT, actor=actor, action="rollout.void", reason=fault.message)
        raise fault
    require_free_devices(rollout)
    for row in rollout.variants.filter(release=None).select_related("variant__version__model__project"):
        issue_own_release(actor, rollout, row)
    try:
        with transaction.atomic():
            locked = lock_rollout(rollout, RolloutState.APPROVED)
            claim_devices(locked)
            started: dict[str, Any] = {"started_at": timezone.now()}
            move_rollout(locked, RolloutState.RUNNING, actor=actor, action="rollout.start", **started)
            begin_wave(actor, locked, 0)
    except IntegrityError:  # another rollout has claimed one of the devices since we looked
        require_free_devices(rollout)
        raise
    return locked


def lock_free_copy(rollout: Rollout) -> Rollout:
    """The row as it is now, with what a start reads of it."""
    related = ("project", "approval", "version__model__project", "version__run")
    return Rollout.objects.select_related(*related).get(pk=rollout.pk)


def require_free_devices(rollout: Rollout) -> None:
    """Raise Conflict where another active rollout holds one of the devices."""
    members = RolloutDevice.objects.filter(rollout=rollout).values("device_id")
    claimed_members = RolloutDevice.objects.filter(is_active=True, device__in=members).exclude(rollout=rollout)
    rollout_ids = sorted(set(claimed_members.order_by().values_list("rollout_id", flat=True).distinct()))
    if rollout_ids:
        raise build_busy_error(claimed_members.count(), rollout_ids)


def claim_devices(rollout: Rollout) -> None:
    """Let the rollout hold its devices; the constraint lets only one of two rollouts do so."""
    lock_claims(rollout)
    RolloutDevice.objects.filter(rollout=rollout).update(is_active=True)


def lock_claims(rollout: Rollout) -> None:
    """Let claims in a project come one after the other: two statements that claim the same devices in another order
    would each wait for the other, and the database would end one of them as a deadlock."""
    list(Project.objects.select_for_update(no_key=True).filter(pk=rollout.project_id).values_list("pk"))


def release_devices(rollout: Rollout) -> None:
    """Let other rollouts have the devices."""
    RolloutDevice.objects.filter(rollout=rollout, is_active=True).update(is_active=False)


def issue_own_release(actor: Actor, rollout: Rollout, row: RolloutVariant) -> Release:
    """The release by which the rollout gives a variant, signed under its approval; one that a killed process has signed
    is taken again."""
    approval = rollout.approval
    release = find_release(row.variant_id, approval)
    if release is None:
        without_samples = read_plan(rollout.plan).without_samples
        release = issue_release(actor=actor, variant=row.variant, approval=approval, without_samples=without_samples)
    RolloutVariant.objects.filter(rollout=rollout, variant=row.variant_id).update(release=release)
    return release


def find_release(variant_id: int, approval: Approval | None) -> Release | None:
    rows = Release.objects.filter(variant_id=variant_id, approval=approval, state=ReleaseState.ISSUED)
    return rows.exclude(key__state=KeyState.REVOKED).order_by("-sequence").first()
