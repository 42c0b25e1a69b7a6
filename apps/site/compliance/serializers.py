"""Evidence of compliance as programs read and send it."""

from __future__ import annotations

import base64
from typing import Any

from rest_framework import serializers

from apps.site.compliance.models import Attachment, EvidenceRun, Gap
from apps.site.compliance.states import Verdict


class EvidenceRunSerializer(serializers.ModelSerializer[EvidenceRun]):
    folder = serializers.CharField(
        source="folder_id", allow_null=True, read_only=True, help_text="SHA-256 of the folder as a zip; null: not here."
    )

    class Meta:
        model = EvidenceRun
        fields = [
            "id",
            "state",
            "requested_by",
            "created_at",
            "started_at",
            "ended_at",
            "seconds",
            "met",
            "partly",
            "not_met",
            "not_applicable",
            "error",
            "folder",
        ]
        read_only_fields = fields


class GapSerializer(serializers.ModelSerializer[Gap]):
    class Meta:
        model = Gap
        fields = ["owner", "due_on", "note", "updated_by", "updated_at"]
        read_only_fields = fields


class GapBody(serializers.Serializer[Any]):
    owner = serializers.CharField(max_length=200)
    due_on = serializers.DateField()
    note = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class FailingAttemptSerializer(serializers.Serializer[Any]):
    text = serializers.DictField(child=serializers.CharField(), help_text="In both languages: en and zh.")
    detail = serializers.CharField()


class ClauseStatusSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(source="clause.id")
    summary = serializers.SerializerMethodField()
    verdict = serializers.ChoiceField(choices=Verdict.values)
    since = serializers.DateTimeField(allow_null=True)
    probes = serializers.ListField(child=serializers.CharField(), source="clause.probes")
    attempts = serializers.IntegerField()
    failing = FailingAttemptSerializer(many=True)
    documents = serializers.IntegerField(help_text="Attached documents that are valid today.")
    gap = GapSerializer(allow_null=True)

    def get_summary(self, status: Any) -> dict[str, str]:
        summary: dict[str, str] = status.clause.summary.to_dict()
        return summary


class ComplianceSerializer(serializers.Serializer[Any]):
    run = EvidenceRunSerializer(allow_null=True)
    clauses = ClauseStatusSerializer(many=True)


class AttachmentSerializer(serializers.ModelSerializer[Attachment]):
    sha256 = serializers.CharField(source="artifact_id", read_only=True)

    class Meta:
        model = Attachment
        fields = [
            "id",
            "clause",
            "title",
            "owner",
            "dated_on",
            "expires_on",
            "file_name",
            "sha256",
            "attached_by",
            "attached_at",
            "withdrawn_at",
            "withdrawn_by",
        ]
        read_only_fields = fields


class AttachmentBody(serializers.Serializer[Any]):
    clause = serializers.CharField(max_length=20)
    title = serializers.CharField(max_length=200)
    owner = serializers.CharField(max_length=200)
    dated_on = serializers.DateField()
    expires_on = serializers.DateField()
    file_name = serializers.CharField(max_length=200)
    content = serializers.CharField(help_text="The bytes of the file, as base64.")

    def validate_content(self, value: str) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise serializers.ValidationError("This is not base64.") from None


class WithdrawBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500)
