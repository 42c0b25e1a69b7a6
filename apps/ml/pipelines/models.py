"""A pipeline: jobs that were submitted as one, by the names that its requester gave them.

What depends on what stands with the jobs (JobParent, JobInput); how far it is, is read from them.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job

STEP_NAME_LIMIT = 50


class PipelineQuerySet(models.QuerySet["Pipeline"]):
    def visible_to(self, actor: Actor) -> PipelineQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Pipeline(models.Model):
    # No state of its own: a copy of what its jobs say would be wrong for a moment after each of their moves.
    project = models.ForeignKey(Project, models.PROTECT, related_name="pipelines", db_index=False)  # indexes below
    name = models.CharField(max_length=120, blank=True)
    template = models.CharField(max_length=60, blank=True)  # a key of TEMPLATES; empty for a graph given whole
    document = models.TextField()  # canonical JSON of what was asked: name, template, parameters, steps
    document_digest = models.CharField(max_length=64)
    requester = models.CharField(max_length=200)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is what the constraint skips
    rerun_of = models.ForeignKey("self", models.PROTECT, null=True, related_name="reruns")
    rerun_from = models.CharField(max_length=STEP_NAME_LIMIT, blank=True)  # the step of `rerun_of` that runs anew
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PipelineQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "requester", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="pipeline_idempotency",
            )
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="pipeline_recent"),
            models.Index(fields=["project", "template", "-id"], name="pipeline_by_template"),
            models.Index(fields=["project", "requester", "-id"], name="pipeline_by_requester"),
            models.Index(fields=["project", "created_at", "id"], name="pipeline_by_made"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.name}".rstrip()


class PipelineStep(models.Model):
    pipeline = models.ForeignKey(Pipeline, models.CASCADE, related_name="steps", db_index=False)  # the constraint's
    name = models.CharField(max_length=STEP_NAME_LIMIT)
    position = models.IntegerField()  # parents before children
    job = models.OneToOneField(Job, models.PROTECT, related_name="pipeline_step")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pipeline", "name"], name="pipeline_step_name")]

    def __str__(self) -> str:
        return self.name
