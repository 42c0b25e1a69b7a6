"""Rollouts, their waves, devices and evidence as programs get them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.fleet.rollouts.models import Look, Rollout, RolloutDevice, RolloutVariant, Wave
from apps.fleet.rollouts.queries import count_devices, describe_next_step

LINKS = {
    "self": "api-rollout",
    "preview": "api-rollout-preview",
    "devices": "api-rollout-devices",
    "evidence": "api-rollout-evidence",
    "request_start": "api-rollout-request-start",
    "request_decision": "api-rollout-request-decision",
    "start": "api-rollout-start",
    "pause": "api-rollout-pause",
    "resume": "api-rollout-resume",
    "abort": "api-rollout-abort",
    "retry": "api-rollout-retry",
    "roll_back": "api-rollout-roll-back",
}


class RolloutLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    preview = serializers.CharField()
    devices = serializers.CharField()
    evidence = serializers.CharField()
    request_start = serializers.CharField()
    request_decision = serializers.CharField()
    start = serializers.CharField()
    pause = serializers.CharField()
    resume = serializers.CharField()
    abort = serializers.CharField()
    retry = serializers.CharField()
    roll_back = serializers.CharField()


class WaveSerializer(serializers.ModelSerializer[Wave]):
    size = serializers.JSONField(help_text="share, count or group, as planned.")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Devices by stage.")

    class Meta:
        model = Wave
        fields = (
            "position",
            "size",
            "devices",
            "controls",
            "asks_approval",
            "state",
            "counts",
            "verdict",
            "looks",
            "next_look_at",
            "started_at",
            "deadline_at",
            "ended_at",
        )
        read_only_fields = fields


class RolloutVariantSerializer(serializers.ModelSerializer[RolloutVariant]):
    variant = serializers.CharField(source="variant.name")
    release = serializers.IntegerField(source="release_id", allow_null=True)

    class Meta:
        model = RolloutVariant
        fields = ("architecture", "variant", "digest", "release")
        read_only_fields = fields


class NextStepField(serializers.Serializer[Any]):
    message = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True, help_text="At the latest; null: whenever a person does.")
    wave = serializers.IntegerField(allow_null=True)


class RolloutSerializer(serializers.ModelSerializer[Rollout]):
    """A rollout in a list. Needs `project` (the slug) in the context, and its waves fetched before."""

    model = serializers.CharField(source="model_name")
    version = serializers.IntegerField(source="version.number")
    reason = serializers.SerializerMethodField(help_text="Why it is in its state.")
    approval = serializers.IntegerField(source="approval_id", allow_null=True, help_text="Of its start.")
    decision = serializers.IntegerField(source="decision_id", allow_null=True, help_text="The last one after a wave.")
    devices = serializers.SerializerMethodField(help_text="Devices by stage.")
    wave = serializers.IntegerField(source="position", allow_null=True, help_text="Position of the one that runs.")
    waves = WaveSerializer(many=True)
    next_step = serializers.SerializerMethodField(help_text="What decides next, and when.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = Rollout
        fields: tuple[str, ...] = (
            "id",
            "title",
            "model",
            "version",
            "state",
            "reason",
            "group",
            "query",
            "approval",
            "decision",
            "devices",
            "wave",
            "waves",
            "next_step",
            "is_covering",
            "created_by",
            "created_at",
            "started_at",
            "ended_at",
            "links",
        )
        read_only_fields = fields

    def get_reason(self, rollout: Rollout) -> str:
        return str(rollout.state_reason.get("message", ""))

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_devices(self, rollout: Rollout) -> dict[str, int]:
        return count_devices(rollout)

    @extend_schema_field(NextStepField)
    def get_next_step(self, rollout: Rollout) -> dict[str, Any]:
        return dict(NextStepField(describe_next_step(rollout)).data)

    @extend_schema_field(RolloutLinks)
    def get_links(self, rollout: Rollout) -> dict[str, str]:
        args = [self.context["project"], rollout.pk]
        return {rel: reverse(name, args=args) for rel, name in LINKS.items()}


class RolloutDetailSerializer(RolloutSerializer):
    variants = RolloutVariantSerializer(many=True)
    plan = serializers.JSONField(help_text="Waves, gates, approvals, schedule and retries, as created.")

    class Meta(RolloutSerializer.Meta):
        fields = (*RolloutSerializer.Meta.fields, "plan_digest", "plan", "variants")
        read_only_fields = fields


class RolloutPreviewSerializer(serializers.Serializer[Any]):
    """The blast radius."""

    devices = serializers.IntegerField()
    uncovered = serializers.IntegerField(help_text="Devices that no wave takes.")
    excluded = serializers.DictField(
        child=serializers.IntegerField(), help_text="Devices of the selection that are left out, by reason."
    )
    waves = serializers.ListField(child=serializers.JSONField())
    strata = serializers.ListField(child=serializers.JSONField(), help_text="The largest 50.")
    strata_total = serializers.IntegerField()
    architectures = serializers.DictField(child=serializers.IntegerField())
    previous = serializers.DictField(
        child=serializers.IntegerField(), help_text='Devices by the release that they run; "": none.'
    )


class RolloutDeviceSerializer(serializers.ModelSerializer[RolloutDevice]):
    """A device's place in a rollout."""

    device = serializers.IntegerField(source="device_id")
    name = serializers.CharField(source="device.name")
    wave = serializers.IntegerField(source="wave.position", allow_null=True, default=None)
    previous = serializers.IntegerField(source="previous_id", allow_null=True, help_text="The release that it ran.")
    assignment = serializers.IntegerField(source="assignment_id", allow_null=True)

    class Meta:
        model = RolloutDevice
        fields = (
            "device",
            "name",
            "wave",
            "stratum",
            "architecture",
            "stage",
            "code",
            "attempts",
            "retry_at",
            "previous",
            "assignment",
            "installed_at",
        )
        read_only_fields = fields


class LookSerializer(serializers.ModelSerializer[Look]):
    wave = serializers.IntegerField(source="wave.position")
    final = serializers.BooleanField(source="is_final")
    document = serializers.JSONField(help_text="docs/canary.md: devices, gates with intervals, looks, reasons.")

    class Meta:
        model = Look
        fields = ("wave", "number", "at", "verdict", "final", "evidence_digest", "document")
        read_only_fields = fields


class RetriedSerializer(serializers.Serializer[Any]):
    devices = serializers.IntegerField(help_text="That try again.")
