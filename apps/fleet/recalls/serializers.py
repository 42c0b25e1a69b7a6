"""Recalls, what they concern, and how far they have come, as REST tells them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.core.messages import translate_message
from apps.data.datasets.provenance.row_origins import DescendantRows
from apps.fleet.recalls.models import Recall, RecallDevice, RecallItem
from apps.fleet.recalls.queries import KINDS, RecallPreview, RecallProgress
from apps.fleet.recalls.subjects import TYPES, Subject


class RecallSubjectSerializer(serializers.Serializer[Subject]):
    type = serializers.CharField()
    id = serializers.CharField()
    row = serializers.IntegerField(help_text="From 1; 0: all of it.")
    label = serializers.CharField()  # type: ignore[assignment]


class RecallSubjectQuery(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=TYPES)
    id = serializers.CharField(max_length=300, help_text="As lineage has it, or name:number of a version.")
    row = serializers.CharField(required=False, help_text="Of a dataset_version: a number from 1, or column=value.")


class CarrierQuery(RecallSubjectQuery):
    kind = serializers.ChoiceField(choices=KINDS)
    cursor = serializers.CharField(required=False)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=200)


class RowVersionSerializer(serializers.Serializer[DescendantRows]):
    dataset = serializers.CharField(source="version.dataset.name")
    number = serializers.IntegerField(source="version.number")
    rows = serializers.ListField(child=serializers.IntegerField())
    more = serializers.BooleanField()


class RecallPreviewSerializer(serializers.Serializer[RecallPreview]):
    subject = RecallSubjectSerializer()
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="How many of each kind carry it.")
    blocked = serializers.IntegerField(help_text="Model versions that are blocked already.")
    revoked = serializers.IntegerField(help_text="Releases that are revoked already.")
    possible = serializers.IntegerField(help_text="Model versions that may contain the row; the others do.")
    devices_by_state = serializers.DictField(child=serializers.IntegerField(), help_text="That run one by receipt.")
    devices_installing = serializers.IntegerField(help_text="That are to install one.")
    containing = RowVersionSerializer(source="carriers.rows", many=True, help_text="Where exactly the row went.")
    cleared = serializers.SerializerMethodField(help_text="Dataset versions below that do not contain the row.")

    def get_cleared(self, preview: RecallPreview) -> list[int]:
        return sorted(preview.carriers.cleared)


class CarrierSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    exact = serializers.BooleanField(help_text="False: it may contain the row.")


class CarrierPageSerializer(serializers.Serializer[Any]):
    items = CarrierSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class RecallLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    items = serializers.CharField()
    devices = serializers.CharField()
    page = serializers.CharField()


class RecallSerializer(serializers.ModelSerializer[Recall]):
    subject = serializers.SerializerMethodField()
    links = serializers.SerializerMethodField()

    class Meta:
        model = Recall
        fields = (
            "id",
            "state",
            "subject",
            "reason",
            "note",
            "exact_only",
            "quarantines",
            "started_by",
            "started_at",
            "completed_at",
            "links",
        )

    @extend_schema_field(RecallSubjectSerializer)
    def get_subject(self, recall: Recall) -> dict[str, Any]:
        names = ("type", "id", "row", "label")
        return {name: getattr(recall, f"subject_{name}") for name in names}

    @extend_schema_field(RecallLinks)
    def get_links(self, recall: Recall) -> dict[str, str]:
        args = [self.context["project"], recall.pk]
        names = {"self": "api-recall", "items": "api-recall-items", "devices": "api-recall-devices"}
        return {key: reverse(name, args=args) for key, name in names.items()} | {
            "page": reverse("recalls:detail", args=args)
        }


class RecallProgressSerializer(serializers.Serializer[RecallProgress]):
    items = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()), help_text="{kind: {outcome: how many}}"
    )
    devices = serializers.DictField(child=serializers.IntegerField(), help_text="{outcome: how many}")
    running = serializers.DictField(
        child=serializers.IntegerField(), help_text="{state: devices that still run it, by their last receipt}"
    )


class RecallDetailSerializer(RecallSerializer):
    failed_steps = serializers.SerializerMethodField(help_text="{step: why it has to be tried again}")
    progress = RecallProgressSerializer()

    class Meta(RecallSerializer.Meta):
        fields = (*RecallSerializer.Meta.fields, "failed_steps", "progress")

    def get_failed_steps(self, recall: Recall) -> dict[str, str]:
        return {step: translate_message(error) for step, error in recall.errors.items()}


class RecallItemSerializer(serializers.ModelSerializer[RecallItem]):
    class Meta:
        model = RecallItem
        fields = ("kind", "object_id", "label", "outcome", "detail", "is_exact", "at")


class RecallDeviceSerializer(serializers.ModelSerializer[RecallDevice]):
    device = serializers.IntegerField(source="device_id")
    name = serializers.CharField(source="device.name")
    assignment = serializers.IntegerField(source="assignment_id", allow_null=True)
    assignment_state = serializers.CharField(source="assignment.state", default=None, allow_null=True)
    from_release = serializers.IntegerField(source="from_release_id", allow_null=True)
    to_release = serializers.IntegerField(source="to_release_id", allow_null=True)

    class Meta:
        model = RecallDevice
        fields = ("device", "name", "outcome", "from_release", "to_release", "assignment", "assignment_state")
