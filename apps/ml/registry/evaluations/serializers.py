"""How the API shows evaluation sets, evaluations, gates and verdicts, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.ml.registry.evaluations.sets import format_set_reference
from apps.ml.registry.models import Evaluation, EvaluationSet, Gate, GateVerdict
from apps.ml.registry.serializers import FigureSerializer
from apps.ml.registry.states import GateState
from deepseek.evaluate.spec import METRICS


class EvaluationSetSerializer(serializers.ModelSerializer[EvaluationSet]):
    ref = serializers.SerializerMethodField(help_text="The name with its revision: holdout-r2.")
    revision = serializers.IntegerField(source="number")
    dataset = serializers.CharField(source="dataset_version.dataset.name")
    version = serializers.IntegerField(source="dataset_version.number")
    data_digest = serializers.CharField(source="dataset_version.digest")
    table = serializers.CharField(source="table_id", help_text="SHA-256 of the table.")
    spec = serializers.JSONField(help_text="Fields of the kind evaluate that decide the figures.")
    current = serializers.SerializerMethodField(help_text="No newer revision supersedes it.")

    class Meta:
        model = EvaluationSet
        fields = [
            "name",
            "ref",
            "revision",
            "current",
            "description",
            "dataset",
            "version",
            "data_digest",
            "table",
            "task",
            "target",
            "primary_metric",
            "spec",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields

    def get_ref(self, found: EvaluationSet) -> str:
        return format_set_reference(found)

    def get_current(self, found: EvaluationSet) -> bool:
        return found.superseded_at is None


class EvaluationSetBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=50, help_text="Lower-case letters, digits and hyphens.")
    dataset = serializers.CharField(max_length=100)
    version = serializers.CharField(max_length=70, help_text="Number, digest, commit or tag of a version of it.")
    task = serializers.CharField(max_length=40, help_text=", ".join(METRICS))
    target = serializers.CharField(max_length=500, help_text="The column that models predict.")
    primary_metric = serializers.CharField(max_length=60, default="", allow_blank=True)
    spec = serializers.DictField(default=dict, help_text="Fields of the kind evaluate: slices, confidence, seed...")
    description = serializers.CharField(max_length=500, default="", allow_blank=True)
    supersede = serializers.BooleanField(default=False, help_text="Make the next revision of a set that there is.")


class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    set = serializers.SerializerMethodField()
    model = serializers.CharField(source="version.model.name")
    version = serializers.IntegerField(source="version.number")
    variant = serializers.CharField(source="form", help_text="Its name; predictions, where the plane ran nothing.")
    predictions = serializers.CharField(
        source="predictions_id",
        allow_null=True,
        help_text="SHA-256 of the predictions that created_by gave; null: the plane ran the variant.",
    )
    digest = serializers.CharField(source="artifact_id", help_text="SHA-256 of evaluation.json.")
    job = serializers.IntegerField(source="job_id")
    metrics = FigureSerializer(many=True)
    pairing = serializers.CharField(help_text="Evaluations with the same are compared row by row.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = Evaluation
        fields = [
            "id",
            "set",
            "model",
            "version",
            "variant",
            "predictions",
            "rows",
            "metrics",
            "pairing",
            "digest",
            "job",
            "created_by",
            "created_at",
            "links",
        ]
        read_only_fields = fields

    def get_set(self, found: Evaluation) -> str:
        return format_set_reference(found.set)

    def get_links(self, found: Evaluation) -> dict[str, str]:
        slug = found.set.project.slug
        return {
            "self": reverse("api-evaluation", args=[slug, found.pk]),
            "document": reverse("api-artifact", args=[slug, found.artifact_id]),
            "replicates": reverse("api-artifact", args=[slug, found.replicates_id]),
        }


class EvaluationDetailSerializer(EvaluationSerializer):
    document = serializers.JSONField(source="read", help_text="plane/evaluation/v1, whole.")

    class Meta(EvaluationSerializer.Meta):
        fields = [*EvaluationSerializer.Meta.fields, "document"]
        read_only_fields = fields


class EvaluateBody(serializers.Serializer[Any]):
    set = serializers.CharField(max_length=60, help_text="Name of a set, or one revision of it: holdout-r2.")
    variant = serializers.CharField(max_length=60, default="", allow_blank=True, help_text="Empty: the trained form.")
    predictions = serializers.CharField(
        max_length=64,
        default="",
        allow_blank=True,
        help_text="Of a version that a client registered: SHA-256 of an artifact, what it predicts on the set's table.",
    )
    horizon = serializers.IntegerField(
        required=False, default=None, allow_null=True, help_text="Of predictions of a forecast: rows ahead."
    )
    batches = serializers.ListField(child=serializers.IntegerField(), required=False, max_length=8)
    runs = serializers.IntegerField(required=False)
    threads = serializers.IntegerField(required=False)


class GateSerializer(serializers.ModelSerializer[Gate]):
    set = serializers.SerializerMethodField()
    baseline = serializers.IntegerField(
        source="baseline.number", default=None, help_text="Number of a version; null: whichever is in production."
    )

    class Meta:
        model = Gate
        fields = [
            "id",
            "set",
            "metric",
            "better",
            "variant",
            "baseline",
            "margin",
            "confidence",
            "guard_slices",
            "set_by",
            "set_at",
        ]
        read_only_fields = fields

    def get_set(self, gate: Gate) -> str:
        return format_set_reference(gate.set)


class GateBody(serializers.Serializer[Any]):
    set = serializers.CharField(max_length=60)
    metric = serializers.CharField(max_length=60, default="", allow_blank=True, help_text="Empty: the set's primary.")
    margin = serializers.FloatField(default=0.0, help_text="How much worse is let through, in the metric's unit.")
    confidence = serializers.FloatField(default=0.95)
    variant = serializers.CharField(max_length=60, default="", allow_blank=True, help_text="Empty: the trained form.")
    baseline = serializers.IntegerField(
        required=False, default=None, allow_null=True, min_value=1, help_text="A version's number; null: production."
    )
    guard_slices = serializers.BooleanField(default=False, help_text="A slice that is worse fails the gate too.")


class GateReasonBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000, help_text="Goes into the audit trail as written.")


class JudgedSerializer(serializers.Serializer[Any]):
    """What a gate says of a version now."""

    gate = GateSerializer()
    verdict = serializers.CharField(source="state", help_text=", ".join(GateState.values))
    lets_through = serializers.BooleanField()
    candidate = serializers.IntegerField(source="candidate.pk", default=None, help_text="The evaluation.")
    baseline = serializers.IntegerField(source="baseline.pk", default=None, help_text="The evaluation.")
    against = serializers.IntegerField(source="against.number", default=None, help_text="Number of the baseline.")
    difference = serializers.FloatField(source="outcome.difference", allow_null=True, help_text="Candidate - baseline.")
    low = serializers.FloatField(source="outcome.low", allow_null=True)
    high = serializers.FloatField(source="outcome.high", allow_null=True)
    slices = serializers.IntegerField(source="outcome.slices", help_text="How many were looked at.")
    worst_slice = serializers.SerializerMethodField()
    why = serializers.CharField(source="outcome.why")
    hint = serializers.CharField(help_text="What to do where it does not let the version through.")

    def get_worst_slice(self, judged: Mapping[str, Any]) -> dict[str, Any] | None:
        worst: dict[str, Any] | None = judged["outcome"].as_dict()["worst"]
        return worst


class GateVerdictSerializer(serializers.ModelSerializer[GateVerdict]):
    gate = serializers.IntegerField(source="gate_id")
    set = serializers.SerializerMethodField()
    metric = serializers.CharField(source="gate.metric")
    candidate = serializers.IntegerField(source="candidate_id", allow_null=True)
    baseline = serializers.IntegerField(source="baseline_id", allow_null=True)

    class Meta:
        model = GateVerdict
        fields = [
            "id",
            "gate",
            "set",
            "metric",
            "verdict",
            "difference",
            "low",
            "high",
            "worst",
            "candidate",
            "baseline",
            "asked_by",
            "at",
        ]
        read_only_fields = fields

    def get_set(self, verdict: GateVerdict) -> str:
        return format_set_reference(verdict.gate.set)


class VersionGatesSerializer(serializers.Serializer[Any]):
    lets_through = serializers.BooleanField(help_text="No gate forbids to ask for a promotion.")
    gates = JudgedSerializer(many=True, help_text="What each gate says now.")
    history = GateVerdictSerializer(many=True, help_text="What gates said when a promotion was asked for.")


class BaselinePointSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    evaluation = serializers.IntegerField()
    metric = FigureSerializer(allow_null=True)


class BaselineLineSerializer(serializers.Serializer[Any]):
    variant = serializers.CharField()
    points = BaselinePointSerializer(many=True)


class BaselinesSerializer(serializers.Serializer[Any]):
    """A metric over the versions of a model, by variant; the newest fifty versions."""

    set = serializers.CharField()
    metric = serializers.CharField()
    lines = BaselineLineSerializer(many=True)
