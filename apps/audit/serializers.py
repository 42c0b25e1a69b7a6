"""REST: shapes of the trail."""

from __future__ import annotations

import json
from typing import Any

from rest_framework import serializers

from apps.audit.models import AuditRecord


class AuditRecordSerializer(serializers.ModelSerializer[AuditRecord]):
    """`body` is the canonical text that is hashed, verbatim; `facts` the same as an object."""

    facts = serializers.SerializerMethodField()

    class Meta:
        model = AuditRecord
        fields = [
            "id", "seq", "prev", "hash", "at", "actor", "user_id", "project_id", "job_id", "action",
            "object_type", "object_id", "result", "request_id", "body", "facts",
        ]  # fmt: skip
        read_only_fields = fields

    def get_facts(self, row: AuditRecord) -> dict[str, Any] | None:
        try:
            facts = json.loads(row.body)
        except ValueError:
            return None
        return facts if isinstance(facts, dict) else None


class CheckpointSerializer(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    hash = serializers.CharField()
    time = serializers.DateTimeField()
    key_id = serializers.CharField()
    signature = serializers.CharField()


class ChainStateSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(["whole", "broken", "unverified"], help_text="As last verified.")
    verified_at = serializers.DateTimeField(allow_null=True)
    verified_seq = serializers.IntegerField(help_text="Records that the last verification walked.")
    finding = serializers.CharField(allow_null=True, help_text="The first bad record.")
    sealed = serializers.IntegerField()
    head = serializers.CharField()
    sealed_at = serializers.DateTimeField(allow_null=True)
    unsealed = serializers.IntegerField()
    oldest_unsealed_seconds = serializers.FloatField()
    alarm = serializers.BooleanField(help_text="A record waits longer than 5 s for its seal.")
    last_checkpoint = CheckpointSerializer(allow_null=True)


class FindingSerializer(serializers.Serializer[Any]):
    what = serializers.CharField()
    seq = serializers.IntegerField(allow_null=True)
    id = serializers.IntegerField(allow_null=True)
    text = serializers.CharField()


class VerificationSerializer(serializers.Serializer[Any]):
    whole = serializers.BooleanField()
    finding = FindingSerializer(allow_null=True)
    sealed = serializers.IntegerField()
    head = serializers.CharField()
    unsealed = serializers.IntegerField()
    oldest_unsealed_seconds = serializers.FloatField()
    alarm = serializers.BooleanField()
    checkpoints = serializers.IntegerField()
    last_checkpoint = CheckpointSerializer(allow_null=True)
    note = serializers.CharField()
    seconds = serializers.FloatField()
