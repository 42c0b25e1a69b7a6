from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from apps.platform.accounts.models import SLUG
from apps.platform.emergency.models import PLANE_ROLES, PROJECT_ROLES, EmergencyGrant
from apps.platform.emergency.services import MAX_REASON_LENGTH
from apps.platform.emergency.states import STATUSES


class EmergencyGrantSerializer(serializers.ModelSerializer[EmergencyGrant]):
    user = serializers.CharField(source="user.username")
    project = serializers.CharField(source="project.slug", default=None, allow_null=True, help_text="null: the plane.")
    status = serializers.ChoiceField(STATUSES)

    class Meta:
        model = EmergencyGrant
        fields: ClassVar[list[str]] = [
            "id", "user", "project", "role", "reason", "hours", "status", "by_keys", "requested_at", "confirmed_label",
            "confirmed_at", "expires_at", "ended_label", "ended_at", "end_reason",
        ]  # fmt: skip
        read_only_fields = fields


class NewEmergencyGrantSerializer(serializers.Serializer[Any]):
    project = serializers.CharField(
        max_length=50, validators=[SLUG], allow_null=True, default=None, help_text="null: the plane."
    )
    role = serializers.ChoiceField(
        [*PROJECT_ROLES, *PLANE_ROLES], help_text="A project role in a project, an administrator's on the plane."
    )
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH)
    hours = serializers.IntegerField(min_value=1, max_value=24, help_text="At most EMERGENCY_HOURS.")


class EndSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH)
