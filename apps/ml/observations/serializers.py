"""Sources and figures that go out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.ml.observations.models import ObservationSource


class SourceLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    figures = serializers.CharField()


@extend_schema_serializer(component_name="ObservationSource")
class SourceSerializer(serializers.ModelSerializer[ObservationSource]):
    """A source. Needs `project` (the slug) in the context."""

    kind = serializers.CharField(help_text="endpoint or device.")
    task = serializers.CharField(help_text="How answers are compared: classification, regression or other.")
    received_at = serializers.DateTimeField(allow_null=True, help_text="When the last batch came.")
    purged_before = serializers.DateTimeField(allow_null=True, help_text="Rows of before have gone.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = ObservationSource
        fields = (
            "name",
            "kind",
            "task",
            "sampling_rate",
            "retention_days",
            "received_at",
            "purged_before",
            "created_by",
            "created_at",
            "links",
        )
        read_only_fields = fields

    @extend_schema_field(SourceLinks)
    def get_links(self, source: ObservationSource) -> dict[str, str]:
        where = {"project": self.context["project"]}
        figures = reverse("api-observation-figures", kwargs=where)
        return {
            "self": reverse("api-observation-source", kwargs={**where, "name": source.name}),
            "figures": f"{figures}?source={source.name}",
        }


class BatchResultSerializer(serializers.Serializer[Any]):
    received = serializers.IntegerField(help_text="Rows of the batch.")
    stored = serializers.IntegerField(help_text="Rows that came for the first time.")
    duplicates = serializers.IntegerField(help_text="Rows that came before with equal content.")
    sampled_out = serializers.IntegerField(help_text="Rows whose id is not in the share that the source keeps.")
    waiting = serializers.IntegerField(help_text="Of the stored labels, those whose prediction has not come yet.")


class EstimateSerializer(serializers.Serializer[Any]):
    value = serializers.FloatField()
    low = serializers.FloatField(help_text="Of the interval of 95 %.")
    high = serializers.FloatField()


class FiguresSerializer(serializers.Serializer[Any]):
    """What was counted. Of what a source's task does not have, null."""

    predictions = serializers.IntegerField()
    labelled = serializers.IntegerField()
    scored = serializers.IntegerField(help_text="Labelled, and label and answer could be compared.")
    correct = serializers.IntegerField()
    labelled_share = serializers.FloatField(allow_null=True)
    accuracy = EstimateSerializer(allow_null=True, help_text="With Wilson's interval.")
    error_rate = serializers.FloatField(allow_null=True)
    absolute_error = EstimateSerializer(allow_null=True, help_text="The mean, with its interval.")
    rmse = serializers.FloatField(allow_null=True)
    bias = serializers.FloatField(allow_null=True, help_text="The mean of answer minus label.")
    latency_ms = serializers.FloatField(allow_null=True, help_text="The mean.")
    latency_ms_max = serializers.FloatField(allow_null=True)


@extend_schema_serializer(component_name="ObservationGroup")
class GroupSerializer(serializers.Serializer[Any]):
    """The figures of one group; what it is not grouped by is null."""

    hour = serializers.DateTimeField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    variant = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)
    figures = FiguresSerializer()


class ClassCountSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    predicted = serializers.IntegerField()
    labelled = serializers.IntegerField(help_text="How often it was the label.")
    correct = serializers.IntegerField(help_text="How often it was both.")


class FiguresAnswerSerializer(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    total = FiguresSerializer()
    groups = GroupSerializer(many=True)
    classes = ClassCountSerializer(many=True, help_text="Of a classification, those predicted most often.")
