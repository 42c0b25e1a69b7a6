"""Snapshots and their operations as programs read them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.states import OperationKind

OPERATIONS = (OperationKind.VERIFY, OperationKind.DRILL, OperationKind.REMOVE)


class SnapshotSerializer(serializers.ModelSerializer[Snapshot]):
    drilled_at = serializers.DateTimeField(
        allow_null=True, read_only=True, default=None, help_text="Of the last restore drill; null: never tried."
    )
    drill_state = serializers.CharField(allow_null=True, read_only=True, default=None)

    class Meta:
        model = Snapshot
        fields = [
            "id",
            "name",
            "repository_id",
            "destination",
            "state",
            "requested_by",
            "created_at",
            "made_at",
            "stored_at",
            "artifacts",
            "total_bytes",
            "added_objects",
            "added_bytes",
            "seconds",
            "audit_seq",
            "missing",
            "verified_at",
            "damaged",
            "drilled_at",
            "drill_state",
            "error",
        ]
        read_only_fields = fields


class SnapshotOperationSerializer(serializers.ModelSerializer[SnapshotOperation]):
    snapshot = serializers.IntegerField(source="snapshot_id", read_only=True)

    class Meta:
        model = SnapshotOperation
        fields = [
            "id",
            "snapshot",
            "kind",
            "state",
            "attempt",
            "progress",
            "result",
            "error",
            "requested_by",
            "created_at",
            "started_at",
            "ended_at",
        ]
        read_only_fields = fields


class SnapshotBody(serializers.Serializer[Any]):
    destination = serializers.CharField(
        max_length=60, required=False, default="", allow_blank=True, help_text="Empty: the first one."
    )


class SnapshotOperationBody(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=[kind.value for kind in OPERATIONS])
    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)
