"""REST: shapes of the trail."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.audit.models import AuditRecord, VerificationRun
from apps.platform.audit.record_body import decode_body


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
        return decode_body(row.body) or None


class CheckpointSerializer(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    hash = serializers.CharField()
    time = serializers.DateTimeField()
    key_id = serializers.CharField()
    signature = serializers.CharField()


class VerificationRunSerializer(serializers.ModelSerializer[VerificationRun]):
    state = serializers.ChoiceField(
        ["queued", "running", "succeeded", "failed"], help_text="succeeded: the trail is whole; failed: it is broken."
    )

    class Meta:
        model = VerificationRun
        fields = ["id", "state", "asked_by", "asked_at", "walked", "until", "ended_at", "whole", "finding", "seconds"]
        read_only_fields = fields
        extra_kwargs = {
            "walked": {"help_text": "Records so far."},
            "until": {"help_text": "Records there were when it began."},
            "finding": {"help_text": "The first bad record."},
        }


class ChainStateSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(["whole", "broken", "unverified"], help_text="As last verified.")
    verified_at = serializers.DateTimeField(allow_null=True)
    verified_by = serializers.CharField(allow_null=True)
    verified_seq = serializers.IntegerField(help_text="Records that the last verification walked.")
    finding = serializers.CharField(allow_null=True, help_text="The first bad record.")
    sealed = serializers.IntegerField()
    head = serializers.CharField()
    sealed_at = serializers.DateTimeField(allow_null=True)
    unsealed = serializers.IntegerField()
    oldest_unsealed_seconds = serializers.FloatField()
    alarm = serializers.BooleanField(help_text="A record waits longer than 5 s for its seal.")
    last_checkpoint = CheckpointSerializer(allow_null=True)
    verification = VerificationRunSerializer(allow_null=True, help_text="The newest that somebody asked for.")


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


class VerificationAskedSerializer(serializers.Serializer[Any]):
    verification = VerificationRunSerializer(
        help_text="Of the whole trail; `GET /api/v1/audit/chain` says how far it is."
    )
    recent = VerificationSerializer(
        allow_null=True, help_text="At once: of what came after the last verification, 5,000 records at most."
    )
