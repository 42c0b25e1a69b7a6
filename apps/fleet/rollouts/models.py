"""Rollouts: a model version for many devices, in waves that gates and approvals let on; each device's place in it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.releases.models import Release
from apps.fleet.rollouts.states import OPEN, ROLLOUT_MOVES, WAVE_MOVES, RolloutState, Stage, Verdict, WaveState
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.accounts.models import ONE_LINE, Project
from apps.platform.approvals.models import Approval

STRATUM_LENGTH = 200
DRIVEN = (
    *OPEN,
    RolloutState.AWAITING_APPROVAL,
    RolloutState.APPROVED,
    RolloutState.ROLLING_BACK,
)
"""The dispatcher moves these; and completed ones that cover devices which enrol later."""


class RolloutQuerySet(models.QuerySet["Rollout"]):
    def visible_to(self, actor: Actor) -> RolloutQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Rollout(models.Model):
    """One model version for a selection of devices. Its row is the lock under which the dispatcher takes a step."""

    MOVES = ROLLOUT_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="rollouts", db_index=False)
    title = models.CharField(max_length=120, blank=True, validators=[ONE_LINE])
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="rollouts")
    model_name = models.CharField(max_length=256)
    state = models.CharField(max_length=20, default=RolloutState.DRAFT, choices=RolloutState.choices)
    state_reason = models.JSONField(default=dict)  # a message as stored: why it is in its state
    group = models.CharField(max_length=50, blank=True)  # name of the saved query that `query` was copied of
    query = models.CharField(max_length=2000, blank=True)  # empty: every device of the project
    plan = models.JSONField()  # schemas.RolloutPlan
    preview = models.JSONField(default=dict)  # planner.summarize: counts by wave, stratum, architecture, version before
    plan_digest = models.CharField(max_length=64, blank=True)  # of which device is in which wave
    approval = models.ForeignKey(Approval, models.PROTECT, null=True, related_name="+", db_index=False)  # of its start
    decision = models.ForeignKey(Approval, models.PROTECT, null=True, related_name="+", db_index=False)  # after a wave
    position = models.IntegerField(null=True)  # of the wave that runs
    requester = models.JSONField(default=dict)  # Actor.as_record of who requested its start, with scopes
    is_covering = models.BooleanField(default=False)  # completed, and devices that enrol later get it too
    next_step_at = models.DateTimeField(null=True)  # when the dispatcher looks again; null: at once
    covered_at = models.DateTimeField(null=True)  # when the dispatcher looked for devices that enrolled later
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = RolloutQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["project", "-id"], name="rollout_recent"),
            models.Index(fields=["project", "state", "-id"], name="rollout_by_state"),
            # The dispatcher looks for these every second, however many have ended.
            models.Index(
                fields=["next_step_at"], name="rollout_due", condition=Q(state__in=DRIVEN) | Q(is_covering=True)
            ),
        ]

    def __str__(self) -> str:
        return f"rollout {self.pk} of {self.model_name}"


class RolloutVariant(models.Model):
    """What devices of one architecture get: a variant, and its release once the rollout has started."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="variants", db_index=False)
    architecture = models.CharField(max_length=10)  # of devices.states.Architecture
    variant = models.ForeignKey(Variant, models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64)  # of the variant's bytes
    release = models.ForeignKey(Release, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "architecture"], name="rollout_variant_once")]
        ordering = ["architecture"]

    def __str__(self) -> str:
        return f"{self.architecture}: {self.variant}"


class RollbackRelease(models.Model):
    """The release by which devices go back to what they ran: of the same variant as `source`, with a new sequence."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="rollback_releases", db_index=False)
    source = models.ForeignKey(Release, models.PROTECT, related_name="+", db_index=False)
    release = models.ForeignKey(Release, models.PROTECT, related_name="+", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "source"], name="rollback_release_once")]

    def __str__(self) -> str:
        return f"{self.source} again: {self.release}"


class Wave(models.Model):
    """A part of the devices, which get the version together and are compared with those of later waves."""

    MOVES = WAVE_MOVES

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="waves", db_index=False)
    position = models.IntegerField()  # from 0
    size = models.JSONField()  # {"share": 0.1}, {"count": 20} or {"group": "berlin"}, as planned
    devices = models.IntegerField()  # planned
    controls = models.IntegerField()  # devices that they can be compared with
    asks_approval = models.BooleanField(default=False)  # after it, before the next
    state = models.CharField(max_length=10, default=WaveState.PENDING, choices=WaveState.choices)
    counts = models.JSONField(default=dict)  # {Stage: devices}, as of the dispatcher's last step
    verdict = models.CharField(max_length=10, blank=True, choices=Verdict.choices)  # of the last look
    looks = models.IntegerField(default=0)
    history = models.JSONField(null=True)  # of the last verdict, for the next look
    next_look_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)  # then the last look is taken
    away_seconds = models.IntegerField(default=0)  # in which the plane was away: by so much both times were moved
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "position"], name="rollout_wave_once")]
        ordering = ["position"]

    def __str__(self) -> str:
        return f"wave {self.position + 1} of rollout {self.rollout_id}"

    @property
    def project_id(self) -> int:
        return self.rollout.project_id


class Look(models.Model):
    """The gate's evidence of one moment and its verdict. Never changed."""

    wave = models.ForeignKey(Wave, models.CASCADE, related_name="evidence", db_index=False)
    number = models.IntegerField()  # from 1
    at = models.DateTimeField()
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    is_final = models.BooleanField()  # nothing more was to come
    document = models.JSONField()  # deepseek.canary's verdict without its history
    evidence_digest = models.CharField(max_length=64)  # of the devices' figures that it was made of

    class Meta:
        constraints = [models.UniqueConstraint(fields=["wave", "number"], name="rollout_look_once")]
        ordering = ["number"]

    def __str__(self) -> str:
        return f"look {self.number}: {self.verdict}"


class RolloutDevice(models.Model):
    """A device's place in a rollout. A device belongs to one active rollout: the constraint decides between two."""

    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="members", db_index=False)
    device = models.ForeignKey(Device, models.PROTECT, related_name="rollouts", db_index=False)
    wave = models.ForeignKey(Wave, models.CASCADE, null=True, related_name="members", db_index=False)  # null: none
    rank = models.IntegerField()  # order in which devices are given it, and from the end compared with
    stratum = models.CharField(max_length=STRATUM_LENGTH, blank=True)
    architecture = models.CharField(max_length=10)
    is_active = models.BooleanField(default=False)  # the rollout holds the device
    stage = models.CharField(max_length=10, default=Stage.PLANNED, choices=Stage.choices)
    previous = models.ForeignKey(Release, models.PROTECT, null=True, related_name="+", db_index=False)  # it ran before
    assignment = models.ForeignKey(Assignment, models.PROTECT, null=True, related_name="+", db_index=False)
    attempts = models.IntegerField(default=0)
    code = models.CharField(max_length=60, blank=True)  # why it failed or was skipped
    retry_at = models.DateTimeField(null=True)
    installed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "device"], name="rollout_device_once"),
            models.UniqueConstraint(fields=["device"], condition=Q(is_active=True), name="rollout_device_active_once"),
        ]
        indexes = [
            models.Index(fields=["rollout", "stage", "rank"], name="rollout_device_by_stage"),
            models.Index(fields=["wave", "stage", "rank"], name="rollout_device_by_wave"),
            models.Index(fields=["device", "-id"], name="rollout_of_device"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} in rollout {self.rollout_id}"
