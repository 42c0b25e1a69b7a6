"""REST serializers of reruns, preflights and verdicts."""

from __future__ import annotations

from typing import Any

from django.utils import translation
from drf_spectacular.utils import extend_schema_field
from pydantic import BaseModel, ConfigDict, Field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.ml.reruns import queries, verdict_text
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.preflight import Preflight
from apps.ml.reruns.states import RerunState, Verdict
from apps.platform.jobs.submission import PRIORITY_RANGE


class ToleranceBody(BaseModel):
    """How far two numbers may lie apart: |a - b| <= max(relative * max(|a|, |b|), absolute)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    relative: float | None = Field(None, description="Share of the larger number, 0 to 1; 0.0001 if left out.")
    absolute: float | None = Field(None, description="In the number's own unit; 1e-9 if left out.")


class RunAgainBody(BaseModel):
    """Nothing of the run can be changed: it is made again from its record alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: ToleranceBody = Field(default_factory=lambda: ToleranceBody(relative=None, absolute=None))
    priority: int = Field(
        0, ge=PRIORITY_RANGE[0], le=PRIORITY_RANGE[1], description="Of the job; higher is claimed first."
    )


class DifferenceSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(
        help_text="spec, data, code, package, python, platform, processor, threads, gpu, node, cpus, memory, attempts"
    )
    name = serializers.CharField(help_text="Field of the spec, slot, or package; else empty.")
    was = serializers.CharField(help_text="Of the run judged against; empty: there was none.")
    now = serializers.CharField()


class EndsSerializer(serializers.Serializer[Any]):
    was = serializers.CharField()
    now = serializers.CharField()


class RerunToleranceSerializer(serializers.Serializer[Any]):
    relative = serializers.FloatField()
    absolute = serializers.FloatField()


class VerdictSerializer(serializers.Serializer[Any]):
    """What differs between a run and the one that it is judged against. `was` is of the other one, `now` of the run."""

    verdict = serializers.ChoiceField(choices=Verdict.choices)
    summary = serializers.SerializerMethodField(help_text="What came out, and what explains it.")
    unexplained = serializers.BooleanField(help_text="Results differ, and nothing that was recorded does.")
    run = serializers.CharField()
    against = serializers.CharField()
    tolerance = RerunToleranceSerializer()
    ends = EndsSerializer()
    inputs = DifferenceSerializer(many=True, help_text="What went in and differs.")
    circumstances = DifferenceSerializer(many=True, help_text="What differs and should not matter.")
    unrecorded = serializers.ListField(child=serializers.CharField(), help_text="Of these inputs nothing is known.")
    metrics = serializers.JSONField(help_text="How many of each verdict; `items`: those that differ most, 50 at most.")
    figures = serializers.JSONField(help_text="Leaves of the figures that differ, without times.")
    outputs = serializers.JSONField(help_text="Paths whose bytes differ, with digests and sizes.")
    points_read = serializers.IntegerField()
    digests = EndsSerializer(help_text="`metrics_digest` of both, as they were judged.")

    def get_summary(self, document: dict[str, Any]) -> str:
        with translation.override("en"):
            return verdict_text.summarize_verdict(document)


class RerunLinksSerializer(serializers.Serializer[Any]):
    self = serializers.CharField()
    original = serializers.CharField()
    job = serializers.CharField()
    run = serializers.CharField(allow_null=True)


class RerunSerializer(serializers.ModelSerializer[Rerun]):
    """A rerun in a list. Needs `project` (the slug) in the context."""

    status = serializers.ChoiceField(source="state", choices=RerunState.choices, read_only=True)
    verdict = serializers.ChoiceField(choices=Verdict.choices, allow_blank=True, help_text="Empty: not judged.")
    original = serializers.CharField(source="original_id")
    job = serializers.IntegerField(source="job_id")
    run = serializers.SerializerMethodField()
    tolerance = serializers.SerializerMethodField()
    foreseen = DifferenceSerializer(many=True, help_text="What was known to differ when it was asked for.")
    links = serializers.SerializerMethodField()

    class Meta:
        model = Rerun
        fields: tuple[str, ...] = (
            "id",
            "status",
            "verdict",
            "original",
            "job",
            "run",
            "tolerance",
            "foreseen",
            "requester",
            "created_at",
            "judged_at",
            "links",
        )
        read_only_fields: tuple[str, ...] = fields

    @extend_schema_field({"type": ["string", "null"], "description": "Null before its job has been claimed."})
    def get_run(self, rerun: Rerun) -> str | None:
        run = queries.get_rerun_run(rerun)
        return run.pk if run else None

    @extend_schema_field(RerunToleranceSerializer)
    def get_tolerance(self, rerun: Rerun) -> dict[str, float]:
        return {"relative": rerun.relative, "absolute": rerun.absolute}

    @extend_schema_field(RerunLinksSerializer)
    def get_links(self, rerun: Rerun) -> dict[str, str | None]:
        where, run = self.context["project"], queries.get_rerun_run(rerun)
        return {
            "self": reverse("api-rerun", kwargs={"project": where, "pk": rerun.pk}),
            "original": reverse("api-run", kwargs={"project": where, "run": rerun.original_id}),
            "job": reverse("api-job", kwargs={"project": where, "pk": rerun.job_id}),
            "run": reverse("api-run", kwargs={"project": where, "run": run.pk}) if run else None,
        }


class RerunDetailSerializer(RerunSerializer):
    judgement = serializers.SerializerMethodField()
    failure = serializers.SerializerMethodField()

    class Meta(RerunSerializer.Meta):
        fields = (*RerunSerializer.Meta.fields, "judgement", "failure")
        read_only_fields = fields

    @extend_schema_field(VerdictSerializer(allow_null=True))
    def get_judgement(self, rerun: Rerun) -> dict[str, Any] | None:
        """The verdict whole; null as long as there is none."""
        return dict(VerdictSerializer(rerun.document).data) if rerun.verdict else None

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": {}})
    def get_failure(self, rerun: Rerun) -> dict[str, Any] | None:
        """Why there is no verdict, and which inputs are gone or damaged: of a rerun that failed or was cancelled."""
        return rerun.document if rerun.document and not rerun.verdict else None


class SlotSerializer(serializers.Serializer[Any]):
    slot = serializers.CharField()
    digest = serializers.CharField()
    size = serializers.IntegerField(allow_null=True)
    fault = serializers.JSONField(help_text="Why it cannot be taken again; empty if it can.")


class OutlookSerializer(serializers.Serializer[Preflight]):
    """What a rerun would take, and what it would meet."""

    run = serializers.CharField(source="run.pk")
    kind = serializers.CharField(source="run.kind")
    possible = serializers.SerializerMethodField()
    errors = serializers.SerializerMethodField()
    spec = serializers.JSONField()
    spec_digest = serializers.CharField(source="run.spec_digest")
    code_digest = serializers.CharField(source="run.code_digest")
    inputs = SlotSerializer(source="slots", many=True)
    foreseen = DifferenceSerializer(source="differing", many=True, help_text="It runs, and this will differ.")

    def get_possible(self, outlook: Preflight) -> bool:
        return outlook.refusal is None

    @extend_schema_field({"type": "array", "items": {"type": "object", "additionalProperties": {}}})
    def get_errors(self, outlook: Preflight) -> list[dict[str, Any]]:
        """Why it cannot be run again, in the shape of an error; empty if it can."""
        return outlook.refusal.errors if outlook.refusal else []
