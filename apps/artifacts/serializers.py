"""How the API shows an artifact: always as a project's holding of it."""

from __future__ import annotations

from rest_framework import serializers

from apps.artifacts.models import Holding


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
