from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from apps.platform.recertification.models import Campaign, Decision, GrantReview
from apps.platform.recertification.services import DAYS, MAX_REASON_LENGTH

MAX_IDS = 1000  # of one decision; all that are yours: `all`


class CampaignSerializer(serializers.ModelSerializer[Campaign]):
    is_overdue = serializers.BooleanField()

    class Meta:
        model = Campaign
        fields: ClassVar[list[str]] = [
            "id", "name", "started_by", "started_at", "due_at", "is_overdue", "closed_by", "closed_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewCampaignSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=120)
    days = serializers.IntegerField(min_value=DAYS[0], max_value=DAYS[1], default=30, help_text="Until it is due.")


class GrantReviewSerializer(serializers.ModelSerializer[GrantReview]):
    project = serializers.CharField(source="project.slug", default=None, allow_null=True)

    class Meta:
        model = GrantReview
        fields: ClassVar[list[str]] = [
            "id", "kind", "holder", "project", "description", "decision", "decided_by", "decided_at", "reason",
            "suspended_at", "restored_at",
        ]  # fmt: skip
        read_only_fields = fields


class DecisionBody(serializers.Serializer[Any]):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1),
        required=False,
        allow_null=True,
        default=None,
        max_length=MAX_IDS,
        help_text="Of reviews.",
    )
    all = serializers.BooleanField(
        required=False, default=False, help_text="In the place of `ids`: all that are open and yours to decide."
    )
    decision = serializers.ChoiceField([Decision.CONFIRMED.value, Decision.REVOKED.value])
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH, required=False, default="", allow_blank=True)


class DecidedSerializer(serializers.Serializer[Any]):
    decided = serializers.IntegerField(help_text="Reviews that were decided now.")


class CloseBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON_LENGTH, required=False, default="", allow_blank=True)
