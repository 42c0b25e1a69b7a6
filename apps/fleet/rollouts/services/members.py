"""How far the devices of a rollout are, as their assignments say: a few statements, whatever the number of devices."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta

from django.db.models import Case, CharField, Count, F, OuterRef, Q, QuerySet, Subquery, Value, When

from apps.core.actors import Actor
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.devices.services import assign_release_to_devices
from apps.fleet.devices.states import AssignmentState
from apps.fleet.releases.models import Release
from apps.fleet.rollouts.models import Rollout, RolloutDevice, Wave
from apps.fleet.rollouts.schemas import RetryPolicy
from apps.fleet.rollouts.states import Stage

DEVICES_PER_STEP = 500
BUSY_SECONDS = 30  # before a device that has another assignment open is looked at again
ENDED_OTHERWISE = (AssignmentState.CANCELLED, AssignmentState.SUPERSEDED)
OWN = Assignment.objects.filter(pk=OuterRef("assignment"))


def sync_members(rollout: Rollout) -> None:
    """Let every device be where its assignment is. Under the lock of the rollout."""
    members = RolloutDevice.objects.filter(rollout=rollout)
    succeeded = Q(assignment__state=AssignmentState.SUCCEEDED)
    ended_at = Subquery(OWN.values("ended_at")[:1])
    late = Q(stage__in=(Stage.ASSIGNED, Stage.FAILED, Stage.SKIPPED))
    members.filter(late, succeeded).update(stage=Stage.INSTALLED, code="", retry_at=None, installed_at=ended_at)
    code = Case(
        When(assignment__code="", then=Value("failed")), default=F("assignment__code"), output_field=CharField()
    )
    codes = Subquery(RolloutDevice.objects.filter(pk=OuterRef("pk")).values_list(code)[:1])
    failed = members.filter(stage=Stage.ASSIGNED, assignment__state=AssignmentState.FAILED)
    failed.update(stage=Stage.FAILED, code=codes)
    fell_back = members.filter(
        stage__in=(Stage.ASSIGNED, Stage.INSTALLED), assignment__state=AssignmentState.ROLLED_BACK
    )
    fell_back.update(stage=Stage.FAILED, code="rolled_back")
    left = members.filter(stage=Stage.ASSIGNED, assignment__state__in=ENDED_OTHERWISE)
    left.update(stage=Stage.SKIPPED, code="cancelled")
    members.filter(stage=Stage.RETURNING).filter(succeeded).update(stage=Stage.RETURNED, code="")
    unreturned = (AssignmentState.FAILED, AssignmentState.ROLLED_BACK, *ENDED_OTHERWISE)
    lost = members.filter(stage=Stage.RETURNING, assignment__state__in=unreturned)
    lost.update(stage=Stage.STRANDED, code=codes)


def count_stages(rollout: Rollout) -> None:
    """Write the counts of the waves, which pages read. Under the lock of the rollout."""
    counts: defaultdict[int | None, Counter[str]] = defaultdict(Counter)
    rows = RolloutDevice.objects.filter(rollout=rollout).order_by().values_list("wave_id", "stage")
    for wave, stage, devices in rows.annotate(devices=Count("pk")):
        counts[wave][stage] = devices
    for wave in Wave.objects.filter(rollout=rollout):
        if wave.counts != dict(counts[wave.pk]):
            Wave.objects.filter(pk=wave.pk).update(counts=dict(counts[wave.pk]))


def schedule_retries(rollout: Rollout, policy: RetryPolicy, now: datetime) -> None:
    """Let devices whose failure may pass try again, each time after twice the pause. Under the lock of the rollout."""
    failed = RolloutDevice.objects.filter(rollout=rollout, stage=Stage.FAILED)
    for attempts in range(1, policy.attempts):
        pause = timedelta(seconds=policy.backoff_seconds * 2 ** (attempts - 1))
        waiting = failed.filter(attempts=attempts, code__in=policy.codes, retry_at=None)
        waiting.update(retry_at=now + pause)
    failed.filter(retry_at__lte=now).update(stage=Stage.PLANNED, code="", retry_at=None)


def assign_members(
    actor: Actor,
    rollout: Rollout,
    members: QuerySet[RolloutDevice],
    release: Release,
    to: str,
    refused: str,
    now: datetime,
) -> int:
    """Assign a release to the first of `members`, DEVICES_PER_STEP at most; how many were looked at. One that has
    another assignment open is looked at again later. Under the lock of the rollout."""
    ready = members.filter(Q(retry_at=None) | Q(retry_at__lte=now)).order_by("rank")
    chosen = {row.device_id: row for row in ready[:DEVICES_PER_STEP]}
    if not chosen:
        return 0
    seconds = int(rollout.plan.get("deadline_seconds", 86_400))
    reason = f"rollout {rollout.pk}"
    outcome = assign_release_to_devices(
        actor=actor,
        project=rollout.project,
        release=release,
        devices=list(chosen),
        deadline_seconds=seconds,
        reason=reason,
    )
    running = dict(Device.objects.filter(pk__in=list(chosen)).values_list("pk", "running_id"))
    for device, row in chosen.items():
        row.retry_at = None
        if device in outcome.assigned:
            row.assignment_id, row.attempts, row.code = outcome.assigned[device], row.attempts + 1, ""
            row.previous_id = running.get(device) if to == Stage.ASSIGNED else row.previous_id
            row.stage = to
        elif device in outcome.busy:
            row.retry_at = now + timedelta(seconds=BUSY_SECONDS)
        else:
            row.stage, row.code = refused, outcome.refused.get(device, "refused")
    columns = ["stage", "assignment", "attempts", "code", "previous", "retry_at"]
    RolloutDevice.objects.bulk_update(chosen.values(), columns, batch_size=100)
    return len(chosen)
