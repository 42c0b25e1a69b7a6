"""Going back: the releases that devices ran before are issued anew and assigned, step by step, by the dispatcher."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Max, QuerySet

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.fleet.releases.models import Release
from apps.fleet.releases.services import issue_release
from apps.fleet.releases.states import KeyState, ReleaseState
from apps.fleet.rollouts.models import RollbackRelease, Rollout, RolloutDevice
from apps.fleet.rollouts.notices import notify_of_end
from apps.fleet.rollouts.services.locks import lock_rollout, move_rollout
from apps.fleet.rollouts.services.members import assign_members, count_stages, sync_members
from apps.fleet.rollouts.services.moves import take_assignments_back
from apps.fleet.rollouts.services.starting import release_devices
from apps.fleet.rollouts.states import RolloutState, Stage
from deepseek.messages import Message

NOTHING_BEFORE = "nothing_before"


def advance_rollback(actor: Actor, rollout: Rollout, now: datetime) -> None:
    """Take every step that can be taken now. Each is a transaction of its own, and taken again changes nothing."""
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.ROLLING_BACK)
        take_assignments_back(actor, locked, str(Message("The rollout {number} is rolled back.", number=locked.pk)))
        sync_members(locked)
        installed = RolloutDevice.objects.filter(rollout=locked, stage=Stage.INSTALLED)
        installed.filter(previous=None).update(stage=Stage.STRANDED, code=NOTHING_BEFORE)
    sources = installed.exclude(previous=None).order_by().values_list("previous_id", flat=True).distinct()
    for source in list(sources):
        return_devices(actor, locked, source, now)
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.ROLLING_BACK)
        count_stages(locked)
        members = RolloutDevice.objects.filter(rollout=locked)
        if members.filter(stage__in=(Stage.ASSIGNED, Stage.INSTALLED, Stage.RETURNING)).exists():
            return
        release_devices(locked)
        move_rollout(locked, RolloutState.ROLLED_BACK, actor=actor, reason=locked.state_reason.get("message", ""))
        notify_of_end(locked)


def return_devices(actor: Actor, rollout: Rollout, source: int, now: datetime) -> None:
    """Let the devices that ran `source` go back to its variant."""
    members = RolloutDevice.objects.filter(rollout=rollout, stage=Stage.INSTALLED, previous=source)
    try:
        release = get_rollback_release(actor, rollout, source)
    except PlaneError as failure:  # revoked, recalled, damaged: a person has to give these devices something else
        members.update(stage=Stage.STRANDED, code=failure.code[:60])
        return
    while assign_returning(actor, rollout, members, release, now):
        pass


def assign_returning(
    actor: Actor, rollout: Rollout, members: QuerySet[RolloutDevice], release: Release, now: datetime
) -> int:
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.ROLLING_BACK)
        return assign_members(actor, locked, members, release, Stage.RETURNING, Stage.STRANDED, now)


def get_rollback_release(actor: Actor, rollout: Rollout, source: int) -> Release:
    """A release of the variant of `source` that devices take after the rollout's own: one that is there, else a new
    one, signed under the approval that `source` had."""
    existing = RollbackRelease.objects.filter(rollout=rollout, source=source).select_related("release__key").first()
    if existing is not None:
        return existing.release
    before = Release.objects.select_related("variant__version__model__project", "approval").get(pk=source)
    own = rollout.variants.filter(release__model_name=before.model_name).aggregate(newest=Max("release__sequence"))
    newest = max(before.sequence, own["newest"] or 0)
    fitting = Release.objects.filter(
        variant=before.variant, project=before.project, sequence__gt=newest, state=ReleaseState.ISSUED
    ).exclude(key__state=KeyState.REVOKED)
    release = fitting.order_by("-sequence").first() or issue_release(
        actor=actor,
        variant=before.variant,
        approval=before.approval,
        without_samples=not before.files.filter(name="samples.json").exists(),
    )
    row, _ = RollbackRelease.objects.get_or_create(rollout=rollout, source=before, defaults={"release": release})
    return row.release
