"""Snapshots of the plane, and what was done with each: written, verified, removed, restored for a drill."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.nodes.models import Node
from apps.site.snapshots.states import (
    OPERATION_MOVES,
    SNAPSHOT_MOVES,
    OperationKind,
    OperationState,
    SnapshotState,
)


class NodeEnvironmentQuerySet(models.QuerySet["NodeEnvironment"]):
    def visible_to(self, actor: Actor) -> NodeEnvironmentQuerySet:
        return self if is_allowed(actor, "node.view") else self.none()


class NodeEnvironment(models.Model):
    """Python, packages, drivers and firmware of a node from `at` on, until its next row."""

    node = models.ForeignKey(Node, models.CASCADE, related_name="environment_versions", db_index=False)
    at = models.DateTimeField(default=timezone.now)
    digest = models.CharField(max_length=64)  # of the document
    document = models.JSONField()  # deepseek.environments.inventory.Document

    objects = NodeEnvironmentQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["node", "-id"], name="node_environment_newest")]

    def __str__(self) -> str:
        return f"environment {self.pk} of {self.node_id}"


class SnapshotQuerySet(models.QuerySet["Snapshot"]):
    def visible_to(self, actor: Actor) -> SnapshotQuerySet:
        return self if is_allowed(actor, "snapshot.view") else self.none()

    def with_drill(self) -> SnapshotQuerySet:
        """Annotate `drilled_at` and `drill_state` of the last restore drill that has ended."""
        drills = SnapshotOperation.objects.filter(
            snapshot=models.OuterRef("pk"),
            kind=OperationKind.DRILL,
            state__in=(OperationState.SUCCEEDED, OperationState.FAILED),
        ).order_by("-id")
        return self.annotate(
            drilled_at=models.Subquery(drills.values("ended_at")[:1]),
            drill_state=models.Subquery(drills.values("state")[:1]),
        )


class Snapshot(models.Model):
    """One snapshot in a repository. `name` is its address there; empty until it has been written."""

    MOVES = SNAPSHOT_MOVES

    destination = models.CharField(max_length=60)  # a name of SNAPSHOT_DESTINATIONS
    repository_id = models.CharField(max_length=32, blank=True)
    name = models.CharField(max_length=32, blank=True)  # 32 hex digits
    state = models.CharField(max_length=10, choices=SnapshotState.choices, default=SnapshotState.PENDING)
    requested_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)
    made_at = models.DateTimeField(null=True)  # the moment of the database in it
    stored_at = models.DateTimeField(null=True)
    artifacts = models.BigIntegerField(default=0)
    total_bytes = models.BigIntegerField(default=0)  # of everything in it, plain
    added_objects = models.BigIntegerField(default=0)  # that the repository did not have before
    added_bytes = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    audit_seq = models.BigIntegerField(default=0)  # where the audit trail in it ends
    missing = models.JSONField(default=list)  # artifacts that the store no longer had whole
    verified_at = models.DateTimeField(null=True)  # every object read back
    damaged = models.JSONField(default=list)  # names of damaged objects, of the last verification
    error = models.JSONField(default=dict)  # why it failed: code and Message.as_fields()

    objects = SnapshotQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["destination", "-id"], name="snapshot_newest"),
            models.Index(fields=["state", "-made_at"], name="snapshot_made"),
        ]

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"


class SnapshotOperationQuerySet(models.QuerySet["SnapshotOperation"]):
    def visible_to(self, actor: Actor) -> SnapshotOperationQuerySet:
        return self if is_allowed(actor, "snapshot.view") else self.none()


class SnapshotOperation(models.Model):
    """Work on a snapshot: a row is the queue, a process of the dispatcher's host takes it."""

    MOVES = OPERATION_MOVES

    snapshot = models.ForeignKey(Snapshot, models.PROTECT, related_name="operations", db_index=False)
    destination = models.CharField(max_length=60)  # the snapshot's: one at a time writes to a repository
    kind = models.CharField(max_length=10, choices=OperationKind.choices)
    state = models.CharField(max_length=10, choices=OperationState.choices, default=OperationState.QUEUED)
    attempt = models.PositiveIntegerField(default=0)  # the fence: what an earlier attempt writes matches no row
    beat_at = models.DateTimeField(null=True)
    progress = models.JSONField(default=dict)  # {stage, done, total}: bytes
    result = models.JSONField(default=dict)
    error = models.JSONField(default=dict)
    requested_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = SnapshotOperationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["destination"], condition=models.Q(state="running"), name="snapshot_operation_alone"
            ),
            # Of two requests at once the second is refused, though neither sees the row of the other.
            models.UniqueConstraint(
                fields=["destination", "kind"],
                condition=models.Q(state__in=("queued", "running"), kind__in=("create", "drill")),
                name="snapshot_operation_kind_once",
            ),
            models.UniqueConstraint(
                fields=["snapshot", "kind"],
                condition=models.Q(state__in=("queued", "running")),
                name="snapshot_operation_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"], name="snapshot_operation_open", condition=models.Q(state__in=("queued", "running"))
            ),
            models.Index(fields=["snapshot", "-id"], name="snapshot_operation_recent"),
            models.Index(fields=["kind", "-id"], name="snapshot_operation_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.snapshot_id}"
