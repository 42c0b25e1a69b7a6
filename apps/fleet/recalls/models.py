"""Recalls: of what, why, by whom, and what became of everything that carried it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.recalls.states import ONGOING, RECALL_MOVES, DeviceOutcome, ItemKind, ItemOutcome, RecallState
from apps.fleet.releases.models import Release
from apps.platform.accounts.models import Project


class RecallQuerySet(models.QuerySet["Recall"]):
    def visible_to(self, actor: Actor) -> RecallQuerySet:
        return self if actor.plane_role or actor.system_role else self.filter(project_id__in=actor.project_ids)


class Recall(models.Model):
    """One recall. Its subject is an end of lineage, of a dataset version perhaps a row of it."""

    MOVES = RECALL_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="recalls", db_index=False)
    subject_type = models.CharField(max_length=40)
    subject_id = models.CharField(max_length=80)
    subject_row = models.BigIntegerField(default=0)  # from 1; 0: all of it
    subject_label = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    note = models.TextField(blank=True)  # of the fault
    exact_only = models.BooleanField(default=False)  # leaves alone what only may contain the row
    quarantines = models.BooleanField(default=False)  # devices that have nothing to go back to
    state = models.CharField(max_length=12, default=RecallState.ACTING, choices=RecallState.choices)
    errors = models.JSONField(default=dict)  # {step: the last message with its id and values}
    failures = models.IntegerField(default=0)  # rounds in a row with an error
    rounds = models.BigIntegerField(default=0)  # the fence: who takes it further counts it up
    next_at = models.DateTimeField(default=timezone.now)  # when the dispatcher goes on; while one is at it, its lease
    newest_release = models.BigIntegerField(default=0)  # at the start: a release to go back to is a later one
    newest_edge = models.BigIntegerField(default=0)  # of lineage, when what carries it was last looked for
    started_by = models.CharField(max_length=200)
    started_by_user = models.BigIntegerField(null=True)
    started_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True)

    objects = RecallQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "subject_type", "subject_id", "subject_row"],
                condition=Q(state__in=ONGOING),
                name="recall_ongoing_once",
            )
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="recall_recent"),
            models.Index(fields=["next_at"], name="recall_due", condition=Q(state__in=ONGOING)),
        ]

    def __str__(self) -> str:
        return f"recall {self.pk}"


class RecallItem(models.Model):
    """A thing of the plane that the recall acts on, and what became of it."""

    recall = models.ForeignKey(Recall, models.CASCADE, related_name="items", db_index=False)
    kind = models.CharField(max_length=20, choices=ItemKind.choices)
    object_id = models.BigIntegerField()
    label = models.CharField(max_length=300)
    outcome = models.CharField(max_length=20, default=ItemOutcome.PENDING, choices=ItemOutcome.choices)
    detail = models.CharField(max_length=300, blank=True)  # what it went back to
    is_exact = models.BooleanField(default=True)  # False: it may contain the row; nothing recorded says it does not
    at = models.DateTimeField(null=True)  # when it came to its outcome

    class Meta:
        constraints = [models.UniqueConstraint(fields=["recall", "kind", "object_id"], name="recall_item_once")]
        indexes = [models.Index(fields=["recall", "kind", "outcome", "id"], name="recall_items")]

    def __str__(self) -> str:
        return self.label


class RecallDevice(models.Model):
    """A device that ran a recalled release or was to install one, and what became of it."""

    recall = models.ForeignKey(Recall, models.CASCADE, related_name="devices", db_index=False)
    device = models.ForeignKey(Device, models.PROTECT, related_name="+", db_index=False)
    outcome = models.CharField(max_length=20, default=DeviceOutcome.PENDING, choices=DeviceOutcome.choices)
    from_release = models.ForeignKey(Release, models.PROTECT, null=True, related_name="+", db_index=False)
    to_release = models.ForeignKey(Release, models.PROTECT, null=True, related_name="+", db_index=False)
    assignment = models.ForeignKey(Assignment, models.PROTECT, null=True, related_name="+", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["recall", "device"], name="recall_device_once")]
        indexes = [
            models.Index(fields=["recall", "outcome", "id"], name="recall_devices"),
            models.Index(fields=["recall", "id"], name="recall_device_order"),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.outcome}"
