"""Devices, tokens, groups and assignments as people and their programs get them."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.fleet.devices.models import Assignment, AssignmentEvent, Device, DeviceGroup, EnrolmentToken, LabelKind
from apps.fleet.releases.models import Release


class DeviceReleaseField(serializers.Serializer[Any]):
    """A release, as much as a list needs of it."""

    id = serializers.IntegerField()
    model = serializers.CharField()
    version = serializers.IntegerField()
    variant = serializers.CharField()
    sequence = serializers.IntegerField()
    sha256 = serializers.CharField(help_text="Of its payload: what receipts name.")


def describe_release(release: Release | None) -> dict[str, Any] | None:
    if release is None:
        return None
    return {
        "id": release.pk,
        "model": release.model_name,
        "version": release.variant.version.number,
        "variant": release.variant.name,
        "sequence": release.sequence,
        "sha256": release.payload_digest,
    }


class TelemetryField(serializers.Serializer[Any]):
    """What the device said last. It is shown, and decides nothing."""

    last_seen = serializers.DateTimeField(allow_null=True, help_text="By the plane's clock, to a few seconds.")
    health = serializers.CharField()
    running = serializers.CharField(help_text="SHA-256 of the release that it says it runs.")
    installed = serializers.CharField()
    metrics = serializers.DictField(child=serializers.FloatField())
    clock_offset = serializers.FloatField(allow_null=True, help_text="Seconds that its clock is ahead.")
    address = serializers.CharField()


class DeviceLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    assignments = serializers.CharField()
    quarantine = serializers.CharField()
    reinstate = serializers.CharField()
    revoke = serializers.CharField()


DEVICE_LINKS = {
    "self": "api-device",
    "assignments": "api-device-assignments",
    "quarantine": "api-device-quarantine",
    "reinstate": "api-device-reinstate",
    "revoke": "api-device-revoke",
}


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """A device. Needs `project` (the slug) in the context, and its labels and telemetry fetched before."""

    reason = serializers.CharField(source="state_reason", help_text="Why it is in its state.")
    tags = serializers.SerializerMethodField(help_text="Set by people.")
    attributes = serializers.SerializerMethodField(help_text="Reported by the device.")
    running = serializers.SerializerMethodField(help_text="What a signed receipt vouches for; a stock client's word.")
    telemetry = TelemetryField()
    links = serializers.SerializerMethodField()

    class Meta:
        model = Device
        fields = (
            "id",
            "name",
            "kind",
            "state",
            "reason",
            "architecture",
            "agent_version",
            "public_key",
            "note",
            "tags",
            "attributes",
            "running",
            "running_since",
            "mismatch",
            "sampling_rate",
            "telemetry",
            "created_by",
            "enrolled_at",
            "links",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_tags(self, device: Device) -> dict[str, str]:
        return list_labels(device, LabelKind.TAG)

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_attributes(self, device: Device) -> dict[str, str]:
        return list_labels(device, LabelKind.ATTRIBUTE)

    @extend_schema_field(DeviceReleaseField(allow_null=True))
    def get_running(self, device: Device) -> dict[str, Any] | None:
        return describe_release(device.running)

    @extend_schema_field(DeviceLinks)
    def get_links(self, device: Device) -> dict[str, str]:
        where = {"project": self.context["project"], "device": device.pk}
        return {rel: reverse(name, kwargs=where) for rel, name in DEVICE_LINKS.items()}


def list_labels(device: Device, kind: LabelKind) -> dict[str, str]:
    """The labels of one kind, of those that were fetched with the device."""
    return {
        label.key: label.value for label in sorted(device.labels.all(), key=lambda one: one.key) if label.kind == kind
    }


class RegisteredDeviceSerializer(serializers.Serializer[Any]):
    device = DeviceSerializer()
    token = serializers.CharField(help_text="The device's own, shown once: hawkBit's TargetToken.")


class DeviceGroupSerializer(serializers.ModelSerializer[DeviceGroup]):
    class Meta:
        model = DeviceGroup
        fields = ("name", "query", "description", "created_by", "created_at")
        read_only_fields = fields


class EnrolmentTokenSerializer(serializers.ModelSerializer[EnrolmentToken]):
    gateway = serializers.BooleanField(source="is_gateway")
    tags = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = EnrolmentToken
        fields: tuple[str, ...] = (
            "id",
            "name",
            "prefix",
            "gateway",
            "max_uses",
            "uses",
            "tags",
            "expires_at",
            "revoked_at",
            "created_by",
            "created_at",
        )
        read_only_fields = fields


class NewEnrolmentTokenSerializer(EnrolmentTokenSerializer):
    token = serializers.SerializerMethodField(help_text="The secret, shown once.")

    class Meta(EnrolmentTokenSerializer.Meta):
        fields = (*EnrolmentTokenSerializer.Meta.fields, "token")
        read_only_fields = fields

    def get_token(self, token: EnrolmentToken) -> str:
        return str(self.context["secret"])


class AssignmentEventSerializer(serializers.ModelSerializer[AssignmentEvent]):
    class Meta:
        model = AssignmentEvent
        fields = ("at", "by_device", "step", "code", "message", "progress")
        read_only_fields = fields


class AssignmentLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    cancel = serializers.CharField()
    device = serializers.CharField()


class AssignmentSerializer(serializers.ModelSerializer[Assignment]):
    """An assignment in a list. Needs `project` (the slug) in the context."""

    device = serializers.CharField(source="device.name")
    release = serializers.SerializerMethodField()
    signed = serializers.BooleanField(source="is_signed", help_text="Its success was proved by a receipt.")
    superseded_by = serializers.IntegerField(source="superseded_by_id", allow_null=True)
    links = serializers.SerializerMethodField()

    class Meta:
        model = Assignment
        fields: tuple[str, ...] = (
            "id",
            "device",
            "release",
            "state",
            "step",
            "progress",
            "code",
            "message",
            "signed",
            "deadline",
            "fetched_at",
            "ended_at",
            "superseded_by",
            "created_by",
            "created_at",
            "links",
        )
        read_only_fields = fields

    @extend_schema_field(DeviceReleaseField)
    def get_release(self, assignment: Assignment) -> dict[str, Any] | None:
        return describe_release(assignment.release)

    @extend_schema_field(AssignmentLinks)
    def get_links(self, assignment: Assignment) -> dict[str, str]:
        where = {"project": self.context["project"]}
        own = {**where, "assignment": assignment.pk}
        return {
            "self": reverse("api-assignment", kwargs=own),
            "cancel": reverse("api-assignment-cancel", kwargs=own),
            "device": reverse("api-device", kwargs={**where, "device": assignment.device_id}),
        }


class AssignmentDetailSerializer(AssignmentSerializer):
    """An assignment whole. Needs its `events` in the context, too."""

    receipt = serializers.SerializerMethodField(help_text="The device's signed envelope.")
    reports = serializers.IntegerField(help_text="That the device has sent; the first 1,000 are kept.")
    events = serializers.SerializerMethodField()

    class Meta(AssignmentSerializer.Meta):
        fields = (*AssignmentSerializer.Meta.fields, "receipt", "reports", "events")
        read_only_fields = fields

    @extend_schema_field(serializers.JSONField(allow_null=True))
    def get_receipt(self, assignment: Assignment) -> Any:
        return json.loads(assignment.receipt) if assignment.receipt else None

    @extend_schema_field(AssignmentEventSerializer(many=True))
    def get_events(self, assignment: Assignment) -> list[dict[str, Any]]:
        return [dict(row) for row in AssignmentEventSerializer(self.context["events"], many=True).data]


class DeviceCountsSerializer(serializers.Serializer[Any]):
    states = serializers.DictField(child=serializers.IntegerField(), help_text="{state: how many devices}.")
    running = serializers.DictField(
        child=serializers.IntegerField(), help_text="{id of a release: how many active devices run it}; 0: none."
    )
