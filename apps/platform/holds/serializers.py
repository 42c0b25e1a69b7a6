from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from apps.platform.holds.models import Hold
from apps.platform.holds.services import MAX_REASON_LENGTH


class HoldSerializer(serializers.ModelSerializer[Hold]):
    class Meta:
        model = Hold
        fields: ClassVar[list[str]] = [
            "id",
            "object_type",
            "object_id",
            "reason",
            "placed_by",
            "placed_at",
            "released_at",
            "released_by",
            "release_reason",
        ]


class NewHoldSerializer(serializers.Serializer[Any]):
    object_type = serializers.CharField(max_length=40, help_text="project, run, experiment, artifact, ...")
    object_id = serializers.CharField(max_length=80, allow_blank=True, default="", help_text="Empty for a project.")
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH, help_text="Shown to whoever is refused.")


class ReleaseSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH)
