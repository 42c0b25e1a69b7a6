from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.platform.access_history.presenters import describe_standing
from apps.platform.access_history.queries import HolderAnswer


class PastRoleSerializer(serializers.Serializer[Any]):
    project = serializers.CharField()
    role = serializers.CharField()
    cleared = serializers.BooleanField(help_text="Whether the clearance reached the label of the project.")


class PastTokenSerializer(serializers.Serializer[Any]):
    prefix = serializers.CharField()
    name = serializers.CharField()
    project = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    ended_at = serializers.DateTimeField(help_text="When it was revoked, or expires.")


class PastEmergencySerializer(serializers.Serializer[Any]):
    grant = serializers.IntegerField()
    role = serializers.CharField()
    project = serializers.CharField(allow_null=True, help_text="Null: on the plane.")


class StandingSerializer(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="Null where a moment was asked for.")
    access = serializers.CharField(help_text="active, disabled, expired or absent.")
    decides = serializers.BooleanField(help_text="False while its credentials waited for a second person.")
    system_role = serializers.CharField(allow_blank=True)
    roles = PastRoleSerializer(many=True)
    tokens = PastTokenSerializer(many=True)
    emergency = PastEmergencySerializer(many=True)
    clearance = serializers.CharField(allow_blank=True)
    unproven = serializers.ListField(
        child=serializers.CharField(), help_text="What records of the trail do not prove: taken from rows as they are."
    )


class HolderAnswerSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    kind = serializers.CharField(help_text="person or service_account.")
    holder = serializers.CharField(source="history.holder")
    standings = serializers.SerializerMethodField(help_text="In the order of time; several where something changed.")

    @extend_schema_field(StandingSerializer(many=True))
    def get_standings(self, answer: HolderAnswer) -> list[dict[str, object]]:
        return [dict(StandingSerializer(describe_standing(answer, each)).data) for each in answer.standings]
