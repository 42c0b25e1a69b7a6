"""Experiments and their runs: what was asked, what was measured while it ran, what came out and on which machine.

The vocabulary is MLflow's. A metric is one named quantity of a run; its row holds what lists and orders need, so that
none of them reads the points.
"""

from __future__ import annotations

import math
from datetime import timedelta
from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.accounts.models import Project
from apps.actors import Actor
from apps.artifacts.models import Artifact
from apps.experiments.states import ENDED, MOVES, RunState
from apps.jobs.models import Job

DEFAULT_NUMBER, DEFAULT_NAME = 0, "Default"


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def visible_to(self, actor: Actor) -> ExperimentQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Experiment(models.Model):
    """Runs that belong together. Number 0, "Default", is made when the first run needs it."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="experiments")
    number = models.IntegerField()
    name = models.CharField(max_length=500)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="experiment_number"),
            models.UniqueConstraint(fields=["project", "name"], name="experiment_name"),
        ]

    def __str__(self) -> str:
        return self.name


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, actor: Actor) -> RunQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


def new_run_id() -> str:
    return uuid4().hex


class Run(models.Model):
    MOVES = MOVES

    id = models.CharField(primary_key=True, max_length=32, default=new_run_id, editable=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="runs", db_index=False)  # the experiment's own
    experiment = models.ForeignKey(Experiment, models.PROTECT, related_name="runs", db_index=False)
    name = models.CharField(max_length=250)
    kind = models.CharField(max_length=40, blank=True)  # of the job; empty: recorded from outside
    job = models.OneToOneField(Job, models.PROTECT, null=True, related_name="run")
    attempt = models.IntegerField(default=0)  # of the job, that records now or recorded last
    state = models.CharField(max_length=10, default=RunState.RUNNING, choices=RunState.choices)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=200)

    environment = models.JSONField(default=dict)  # python, platform, packages, node, processor, memory, GPUs, threads
    code_digest = models.CharField(max_length=64, blank=True)  # of the engine's source files
    spec_digest = models.CharField(max_length=64, blank=True)
    inputs = models.JSONField(default=dict)  # slot -> digest
    figures = models.JSONField(default=dict)  # what was measured on held-out rows: plane/figures/v1
    metrics_digest = models.CharField(max_length=64, blank=True)  # of every point, once it has ended
    metrics_count = models.BigIntegerField(default=0)  # points, once it has ended

    objects = RunQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["project", "-started_at", "-id"], name="run_recent"),
            models.Index(fields=["project", "state", "-started_at", "-id"], name="run_by_state"),
            models.Index(fields=["project", "kind", "-started_at", "-id"], name="run_by_kind"),
            models.Index(fields=["project", "created_by", "-started_at", "-id"], name="run_by_person"),
            models.Index(fields=["project", "name", "id"], name="run_by_name"),
            models.Index(fields=["experiment", "-started_at", "-id"], name="run_by_experiment"),
            # The dispatcher looks every second for open runs whose job has ended, however many have been closed.
            models.Index(fields=["job"], name="run_open", condition=Q(state="running", job__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def took(self) -> timedelta | None:
        return self.ended_at - self.started_at if self.ended_at else None


class RunParam(models.Model):
    run = models.ForeignKey(Run, models.CASCADE, related_name="params", db_index=False)
    key = models.CharField(max_length=250)
    value = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="run_param_once")]


class Metric(models.Model):
    """One quantity of a run: its newest, lowest and highest value. NaN is a flag: SQLite has no such number."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="metrics", db_index=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)  # the run's, for the order
    key = models.CharField(max_length=250)
    value = models.FloatField()  # at the greatest step; 0 where that is not a number
    is_nan = models.BooleanField(default=False)
    step = models.BigIntegerField()
    at = models.DateTimeField()
    first_step = models.BigIntegerField()
    lowest = models.FloatField(null=True)  # null: no value is a number
    lowest_step = models.BigIntegerField(null=True)
    highest = models.FloatField(null=True)
    highest_step = models.BigIntegerField(null=True)
    count = models.BigIntegerField(default=0)
    attempt = models.IntegerField(default=0)  # of the job, that reported it last
    digest = models.CharField(max_length=64)  # a chain over its points in the order they came: series.chained
    open_buckets = models.JSONField(default=list)  # of its thinned series, those not full yet: thinning.written

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="metric_once")]
        indexes = [
            # A list ordered by a metric walks this one, in either direction.
            models.Index(fields=["project", "key", "value", "run"], name="metric_order", condition=Q(is_nan=False)),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def number(self) -> float:
        return math.nan if self.is_nan else self.value


class MetricPoint(models.Model):
    """Telemetry, exempt from the audit: the record that closes the run holds the digest of all of them."""

    metric = models.ForeignKey(Metric, models.CASCADE, related_name="points", db_index=False)
    step = models.BigIntegerField()
    value = models.FloatField()
    is_nan = models.BooleanField(default=False)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["metric", "step", "id"], name="point_by_step")]

    @property
    def number(self) -> float:
        return math.nan if self.is_nan else self.value


class MetricBucket(models.Model):
    """Some points of a metric that came after each other, as a chart draws them; made of the points: thinning.py."""

    metric = models.ForeignKey(Metric, models.CASCADE, related_name="buckets", db_index=False)
    level = models.SmallIntegerField()
    upto = models.BigIntegerField()  # points of the metric, up to the last of this bucket
    count = models.BigIntegerField()
    odd = models.BigIntegerField()  # of these, NaN or infinite
    total = models.FloatField(null=True)  # of the others; null: beyond what a number holds
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    lowest = models.FloatField(null=True)
    lowest_step = models.BigIntegerField()
    lowest_at = models.DateTimeField(null=True)
    highest = models.FloatField(null=True)
    highest_step = models.BigIntegerField()
    highest_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["metric", "level", "upto"], name="bucket_once")]


class RunArtifact(models.Model):
    run = models.ForeignKey(Run, models.CASCADE, related_name="artifacts", db_index=False)
    path = models.CharField(max_length=500)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    size = models.BigIntegerField()
    media_type = models.CharField(max_length=120)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "path"], name="run_artifact_once")]
