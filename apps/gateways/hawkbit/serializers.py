"""Update files and maintenance windows that go out."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.gateways.hawkbit.models import UpdateFile


class UpdateFileSerializer(serializers.ModelSerializer[UpdateFile]):
    release = serializers.IntegerField(source="release_id")
    digest = serializers.CharField(source="artifact_id", help_text="SHA-256.")
    size = serializers.IntegerField(source="artifact.size")

    class Meta:
        model = UpdateFile
        fields = ("release", "name", "digest", "size", "attached_by", "attached_at")
        read_only_fields = fields


class MaintenanceWindowSerializer(serializers.Serializer[Any]):
    days = serializers.ListField(child=serializers.CharField(), help_text="mon to sun: on which it opens.")
    start = serializers.CharField(help_text="HH:MM, by the clock on the wall.")
    minutes = serializers.IntegerField(help_text="That it stays open.")
    time_zone = serializers.CharField()
