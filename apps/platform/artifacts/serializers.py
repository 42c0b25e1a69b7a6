"""How the API shows an artifact: always as a project's holding of it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.artifacts.lists import AGE, WHY
from apps.platform.artifacts.models import Holding


class ArtifactSerializer(serializers.ModelSerializer[Holding]):
    digest = serializers.CharField(source="artifact_id", help_text="SHA-256, 64 hex digits.")
    size = serializers.IntegerField(source="artifact.size", help_text="Bytes.")
    verified_at = serializers.DateTimeField(
        source="artifact.verified_at", help_text="When its bytes were last read, or written, and found right."
    )
    damaged = serializers.SerializerMethodField(help_text="A scrub found other bytes, or none.")

    class Meta:
        model = Holding
        fields = ["digest", "size", "name", "media_type", "created_by", "created_at", "verified_at", "damaged"]
        read_only_fields = fields

    def get_damaged(self, holding: Holding) -> bool:
        return holding.artifact.damaged_at is not None


class GarbageSerializer(serializers.Serializer[Any]):
    digest = serializers.CharField(help_text="SHA-256, 64 hex digits.")
    size = serializers.IntegerField(help_text="Bytes.")
    why = serializers.ChoiceField(
        choices=list(WHY), help_text="uncited: nothing cites the artifact; unnamed: bytes that no artifact names."
    )


class GarbageQuery(serializers.Serializer[Any]):
    older_than = serializers.CharField(
        required=False, default=AGE, help_text="Spare what came within this time: a number with d, h or m."
    )
    why = serializers.ChoiceField(choices=list(WHY), required=False, help_text="Only what goes for this reason.")
    cursor = serializers.CharField(required=False)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=200, default=50)


class GarbagePageSerializer(serializers.Serializer[Any]):
    items = GarbageSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="Send it as `cursor` for the next page.")
    artifacts = serializers.IntegerField(help_text="How many would go, on all pages.")
    bytes = serializers.IntegerField(help_text="Of all of them.")
    complete = serializers.BooleanField(
        help_text="Whether that is all: a look ends after 10 seconds or 10,000 entries, the command lists everything."
    )
