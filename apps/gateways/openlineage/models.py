"""Lineage received from other tools (OpenLineage 2-0-2): every event as it came, and the merged state."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.platform.accounts.models import Project


class ForeignEndQuerySet(models.QuerySet["ForeignEnd"]):
    def visible_to(self, actor: Actor) -> ForeignEndQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class ForeignEnd(models.Model):
    """A job or a dataset of another tool: an end of lineage edges, by the key that its names give.

    `facets`: of a dataset or job, the last that was told of each name.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    type = models.CharField(max_length=20)  # foreign_job | foreign_dataset
    key = models.CharField(max_length=32)  # of namespace, name and version (naming.py)
    namespace = models.TextField()
    name = models.TextField()
    version = models.TextField(blank=True)
    facets = models.JSONField(default=dict)
    told_at = models.DateTimeField()  # eventTime of the newest event that told of it
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ForeignEndQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "type", "key"], name="foreign_end_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


class ForeignRunQuerySet(models.QuerySet["ForeignRun"]):
    def visible_to(self, actor: Actor) -> ForeignRunQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class ForeignRun(models.Model):
    """One run of a foreign job: what its events say together, the later ones over the earlier."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    run_id = models.UUIDField()
    job = models.ForeignKey(ForeignEnd, models.PROTECT, related_name="runs", db_index=False)
    state = models.CharField(max_length=10, blank=True)  # the last eventType; an end stays
    facets = models.JSONField(default=dict)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField()

    objects = ForeignRunQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "run_id"], name="foreign_run_once")]
        indexes = [models.Index(fields=["job", "-id"], name="foreign_run_of_job")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.state}"


class LineageEventQuerySet(models.QuerySet["LineageEvent"]):
    def visible_to(self, actor: Actor) -> LineageEventQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class LineageEvent(models.Model):
    """An event as it came. Only ever added; the same again is the same row."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    digest = models.CharField(max_length=64)  # of its canonical JSON
    kind = models.CharField(max_length=12)  # RunEvent | JobEvent | DatasetEvent
    event_type = models.CharField(max_length=10, blank=True)
    event_time = models.DateTimeField()
    run_id = models.UUIDField(null=True)
    job_key = models.CharField(max_length=32, blank=True)  # of ForeignEnd
    job_namespace = models.TextField(blank=True)
    job_name = models.TextField(blank=True)
    producer = models.TextField()
    body = models.TextField()  # its canonical JSON: what came, but for white space and the order of names
    received_by = models.CharField(max_length=200)
    received_at = models.DateTimeField(auto_now_add=True)

    objects = LineageEventQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "digest"], name="lineage_event_once")]
        indexes = [
            models.Index(fields=["project", "-id"], name="lineage_event_recent"),
            models.Index(
                fields=["project", "run_id", "id"], name="lineage_event_run", condition=Q(run_id__isnull=False)
            ),
            models.Index(fields=["project", "job_key", "-id"], name="lineage_event_job"),
            models.Index(fields=["project", "event_time", "id"], name="lineage_event_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:12]}"

    @property
    def event(self) -> Any:
        return json.loads(self.body)
