"""REST serializers of experiments, runs and metrics. NaN and infinities are strings: JSON has no such numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.ml.experiments.models import Experiment, Metric, MetricPoint, Run, RunArtifact
from apps.ml.experiments.queries import ComparedRow, RunComparison
from apps.ml.experiments.states import RunState


def serialize_number(value: float | None) -> float | str | None:
    """A value as JSON can hold it; the words are those that MLflow's clients know."""
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@extend_schema_field({"oneOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]})
class ValueField(serializers.Field[Any, Any, Any, Any]):
    """A float; what is not finite is a word."""

    def to_representation(self, value: Any) -> Any:
        return serialize_number(value)


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    class Meta:
        model = Experiment
        fields = ["number", "name", "created_by", "created_at"]
        read_only_fields = fields


class RunLinksField(serializers.Serializer[Any]):
    self = serializers.CharField()
    metrics = serializers.CharField()
    history = serializers.CharField(help_text="Add ?key=")
    artifacts = serializers.CharField()
    job = serializers.CharField(allow_null=True)


class RunSerializer(serializers.ModelSerializer[Run]):
    """A run in a list. Needs `project` (the slug) and `columns` (reads.Columns) in the context."""

    status = serializers.ChoiceField(source="state", choices=RunState.choices, read_only=True)
    experiment = ExperimentSerializer()
    job = serializers.IntegerField(source="job_id", allow_null=True)
    metrics = serializers.SerializerMethodField()
    links = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields: tuple[str, ...] = (
            "id",
            "name",
            "status",
            "kind",
            "experiment",
            "job",
            "attempt",
            "created_by",
            "started_at",
            "ended_at",
            "spec_digest",
            "code_digest",
            "inputs",
            "metrics_digest",
            "metrics_count",
            "metrics",
            "links",
        )
        read_only_fields = fields

    @extend_schema_field({"type": "object", "additionalProperties": {}, "description": "Newest value of each column."})
    def get_metrics(self, run: Run) -> dict[str, Any]:
        metrics: Mapping[str, Metric] = self.context["columns"].values.get(run.pk, {})
        return {key: serialize_number(metrics[key].number) for key in self.context["columns"].metrics if key in metrics}

    @extend_schema_field(RunLinksField)
    def get_links(self, run: Run) -> dict[str, Any]:
        where = {"project": self.context["project"], "run": run.pk}
        job = {"project": self.context["project"], "pk": run.job_id}
        return {
            "self": reverse("api-run", kwargs=where),
            "metrics": reverse("api-run-metrics", kwargs=where),
            "history": reverse("api-run-history", kwargs=where),
            "artifacts": reverse("api-run-artifacts", kwargs=where),
            "job": reverse("api-job", kwargs=job) if run.job_id else None,
        }


class RunArtifactSerializer(serializers.ModelSerializer[RunArtifact]):
    digest = serializers.CharField(source="artifact_id")

    class Meta:
        model = RunArtifact
        fields = ["path", "digest", "size", "media_type"]
        read_only_fields = fields


class RunDetailSerializer(RunSerializer):
    """A run whole, but for its points."""

    # Needs `params`, `artifacts` and `artifacts_truncated` in the context as well.
    params = serializers.SerializerMethodField()
    artifacts = serializers.SerializerMethodField()
    artifacts_truncated = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "params", "environment", "figures", "artifacts", "artifacts_truncated")
        read_only_fields = fields

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
    def get_params(self, run: Run) -> dict[str, str]:
        return {param.key: param.value for param in self.context["params"]}

    @extend_schema_field(RunArtifactSerializer(many=True))
    def get_artifacts(self, run: Run) -> list[dict[str, Any]]:
        return list(RunArtifactSerializer(self.context["artifacts"], many=True).data)

    @extend_schema_field({"type": "boolean", "description": "There are more: links.artifacts lists them in pages."})
    def get_artifacts_truncated(self, run: Run) -> bool:
        truncated: bool = self.context["artifacts_truncated"]
        return truncated


class MetricSerializer(serializers.ModelSerializer[Metric]):
    """One quantity: its newest value and step, and where it was lowest and highest."""

    value = ValueField(source="number")
    lowest = ValueField()
    highest = ValueField()

    class Meta:
        model = Metric
        fields = [
            "key",
            "value",
            "step",
            "at",
            "first_step",
            "lowest",
            "lowest_step",
            "highest",
            "highest_step",
            "count",
        ]
        read_only_fields = fields


class PointSerializer(serializers.ModelSerializer[MetricPoint]):
    value = ValueField(source="number")

    class Meta:
        model = MetricPoint
        fields = ["step", "value", "at"]
        read_only_fields = fields


class ParamRowSerializer(serializers.Serializer[ComparedRow]):
    key = serializers.CharField()
    differs = serializers.BooleanField()
    values = serializers.ListField(child=serializers.CharField(allow_null=True), help_text="In the order of `runs`.")


class MetricRowSerializer(serializers.Serializer[ComparedRow]):
    key = serializers.CharField()
    values = serializers.SerializerMethodField()

    @extend_schema_field({"type": "array", "items": {}, "description": "Newest values in the order of `runs`."})
    def get_values(self, row: ComparedRow) -> list[Any]:
        return [serialize_number(metric.number) if metric else None for metric in row.values]


class ComparisonSerializer(serializers.Serializer[RunComparison]):
    """Several runs side by side. Needs the context of RunSerializer."""

    runs = RunSerializer(many=True)
    params = ParamRowSerializer(many=True, help_text="Those that differ come first.")
    metrics = MetricRowSerializer(many=True)
    truncated = serializers.BooleanField(help_text="A run has more than is compared.")
