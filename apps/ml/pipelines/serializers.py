"""Pipelines that go out: in a list, whole, and the templates there are."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.pipelines.queries import LoadedPipeline, PipelineSummary, get_progress
from apps.ml.pipelines.states import PipelineState
from apps.platform.jobs.serializers import ErrorField, ProgressField, format_attempt
from apps.platform.jobs.states import JobState

LINKS = {
    "self": "api-pipeline",
    "wait": "api-pipeline-wait",
    "events": "api-pipeline-events",
    "cancel": "api-pipeline-cancel",
    "rerun": "api-pipeline-rerun",
}


class CountsField(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    waiting = serializers.IntegerField()
    queued = serializers.IntegerField()
    running = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class PipelineLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    wait = serializers.CharField()
    events = serializers.CharField()
    cancel = serializers.CharField()
    rerun = serializers.CharField()


class PipelineSerializer(serializers.ModelSerializer[Pipeline]):
    """A pipeline in a list. Needs `project` (the slug) and `summaries` in the context."""

    state = serializers.SerializerMethodField()
    counts = serializers.SerializerMethodField(help_text="Steps by the states of their jobs.")
    rerun_of = serializers.IntegerField(source="rerun_of_id", allow_null=True)
    started_at = serializers.SerializerMethodField()
    ended_at = serializers.SerializerMethodField()
    links = serializers.SerializerMethodField()

    class Meta:
        model = Pipeline
        fields: tuple[str, ...] = (
            "id",
            "name",
            "template",
            "state",
            "counts",
            "requester",
            "rerun_of",
            "rerun_from",
            "document_digest",
            "created_at",
            "started_at",
            "ended_at",
            "links",
        )
        read_only_fields = fields

    def summary(self, pipeline: Pipeline) -> PipelineSummary:
        pipeline_summary: PipelineSummary = self.context["summaries"][pipeline.pk]
        return pipeline_summary

    @extend_schema_field(serializers.ChoiceField(choices=PipelineState.choices))
    def get_state(self, pipeline: Pipeline) -> str:
        return self.summary(pipeline).state.value

    @extend_schema_field(CountsField)
    def get_counts(self, pipeline: Pipeline) -> dict[str, int]:
        summary = self.summary(pipeline)
        counts = {name: getattr(summary, name) for name in ("total", *JobState.values)}
        return counts | {"failed": summary.failed + summary.followed}

    @extend_schema_field(serializers.DateTimeField(allow_null=True, help_text="When the first job was claimed."))
    def get_started_at(self, pipeline: Pipeline) -> Any:
        return self.summary(pipeline).started_at

    @extend_schema_field(serializers.DateTimeField(allow_null=True, help_text="null: it moves."))
    def get_ended_at(self, pipeline: Pipeline) -> Any:
        summary = self.summary(pipeline)
        return None if summary.moving else summary.ended_at

    @extend_schema_field(PipelineLinks)
    def get_links(self, pipeline: Pipeline) -> dict[str, str]:
        where = {"project": self.context["project"], "pk": pipeline.pk}
        return {rel: reverse(name, kwargs=where) for rel, name in LINKS.items()}


class StepOutputField(serializers.Serializer[Any]):
    slot = serializers.CharField()
    digest = serializers.CharField(source="artifact_id")


class PipelineStepSerializer(serializers.ModelSerializer[PipelineStep]):
    """A step as its job is now. Needs `project` and `parents` in the context."""

    kind = serializers.CharField(source="job.kind")
    job = serializers.IntegerField(source="job_id")
    state = serializers.ChoiceField(source="job.state", choices=JobState.choices)
    after = serializers.SerializerMethodField(help_text="The steps that it waits for.")
    attempt = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    register = serializers.JSONField(source="job.register")
    outputs = StepOutputField(source="job.outputs", many=True)
    claimed_at = serializers.DateTimeField(source="job.claimed_at", allow_null=True)
    ended_at = serializers.DateTimeField(source="job.ended_at", allow_null=True)
    link = serializers.SerializerMethodField(help_text="The job, whole.")

    class Meta:
        model = PipelineStep
        fields = (
            "name",
            "kind",
            "job",
            "state",
            "after",
            "attempt",
            "progress",
            "error",
            "register",
            "outputs",
            "claimed_at",
            "ended_at",
            "link",
        )
        read_only_fields = fields

    def get_after(self, step: PipelineStep) -> list[str]:
        return list(self.context["parents"][step.name])

    def get_attempt(self, step: PipelineStep) -> str:
        return format_attempt(step.job)

    @extend_schema_field(ProgressField(allow_null=True))
    def get_progress(self, step: PipelineStep) -> dict[str, Any] | None:
        return get_progress(step.job) or None

    @extend_schema_field(ErrorField(allow_null=True))
    def get_error(self, step: PipelineStep) -> dict[str, Any] | None:
        return step.job.error

    def get_link(self, step: PipelineStep) -> str:
        return reverse("api-job", kwargs={"project": self.context["project"], "pk": step.job_id})


class PipelineDetailSerializer(PipelineSerializer):
    """A pipeline whole. The view puts what `detail` needs into the context."""

    steps = serializers.SerializerMethodField()
    document = serializers.SerializerMethodField(help_text="What was asked: name, template, parameters, steps.")

    class Meta(PipelineSerializer.Meta):
        fields = (*PipelineSerializer.Meta.fields, "steps", "document")
        read_only_fields = fields

    @extend_schema_field(PipelineStepSerializer(many=True))
    def get_steps(self, pipeline: Pipeline) -> list[dict[str, Any]]:
        return list(PipelineStepSerializer(self.context["steps"], many=True, context=self.context).data)

    def get_document(self, pipeline: Pipeline) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(pipeline.document)
        return document


def pipeline_as_dict(project: str, loaded: LoadedPipeline) -> dict[str, Any]:
    """One pipeline as REST shows it."""
    pipeline = loaded.pipeline
    context = {
        "project": project,
        "summaries": {pipeline.pk: loaded.summary},
        "steps": loaded.steps,
        "parents": loaded.parents,
    }
    return dict(PipelineDetailSerializer(pipeline, context=context).data)


class TemplateSerializer(serializers.Serializer[Any]):
    template = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    doc = serializers.CharField()
    steps = serializers.DictField(child=serializers.CharField(), help_text="Step -> kind of its job.")
    schema = serializers.JSONField(help_text="JSON Schema of `params`.")
