"""Experiments and their runs: what was asked, what was measured while it ran, what came out and on which machine.

The vocabulary is MLflow's, and so are the rows: its clients (mlflow) read and write these tables and no others. A
metric is one named quantity of a run; its row holds what lists and orders need, so that none of them reads the points.
"""

from __future__ import annotations

import math
from datetime import timedelta
from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.db.models.functions import Left
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.db.key_values import KeyValue
from apps.ml.experiments.states import ENDED, MODEL_MOVES, MOVES, LoggedModelState, RunState
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job

DEFAULT_NUMBER, DEFAULT_NAME = 0, "Default"
INDEXED = 64  # characters of a parameter's or a tag's value that its index holds


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def visible_to(self, actor: Actor) -> ExperimentQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)

    def active(self) -> ExperimentQuerySet:
        return self.filter(deleted_at__isnull=True)


class Experiment(models.Model):
    """Runs that belong together. Number 0, "Default", is made when the first run needs it."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="experiments")
    number = models.IntegerField()
    name = models.CharField(max_length=500)
    artifact_location = models.CharField(max_length=500, blank=True)  # empty: the plane's own, by its number
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)  # its name stays taken, and it can be restored

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="experiment_number"),
            models.UniqueConstraint(fields=["project", "name"], name="experiment_name"),
        ]
        indexes = [
            models.Index(fields=["project", "-updated_at", "-number"], name="experiment_by_change"),
            models.Index(fields=["project", "-created_at", "number"], name="experiment_by_age"),
        ]

    def __str__(self) -> str:
        return self.name


class ExperimentTag(KeyValue):
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="tags", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["experiment", "key"], name="experiment_tag_once")]


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, actor: Actor) -> RunQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)

    def active(self) -> RunQuerySet:
        return self.filter(deleted_at__isnull=True)


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
    client_user = models.CharField(max_length=256, blank=True)  # who a client says it runs for; nobody checked it
    deleted_at = models.DateTimeField(null=True)  # reads go on, writes do not; it can be restored
    purging_at = models.DateTimeField(null=True)  # its points go, a batch after the other, and the row at last

    environment = models.JSONField(default=dict)  # python, platform, packages, node, processor, memory, GPUs, threads
    code_digest = models.CharField(max_length=64, blank=True)  # of the engine's source files
    spec_digest = models.CharField(max_length=64, blank=True)
    inputs = models.JSONField(default=dict)  # slot -> digest
    figures = models.JSONField(default=dict)  # what was measured on held-out rows: plane/figures/v1
    metrics_digest = models.CharField(max_length=64, blank=True)  # of every point but `system/`, once it has ended
    metrics_count = models.BigIntegerField(default=0)  # of these points, once it has ended

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            # Whatever a service does wrong, what has lost points already is not restored.
            models.CheckConstraint(
                condition=Q(purging_at__isnull=True) | Q(deleted_at__isnull=False), name="run_purging_is_deleted"
            )
        ]
        indexes = [
            models.Index(
                fields=["project", "deleted_at", "id"], name="run_by_deletion", condition=Q(deleted_at__isnull=False)
            ),
            models.Index(fields=["project", "-started_at", "-id"], name="run_recent"),
            models.Index(fields=["project", "state", "-started_at", "-id"], name="run_by_state"),
            models.Index(fields=["project", "kind", "-started_at", "-id"], name="run_by_kind"),
            models.Index(fields=["project", "created_by", "-started_at", "-id"], name="run_by_person"),
            models.Index(fields=["project", "name", "id"], name="run_by_name"),
            models.Index(fields=["experiment", "-started_at", "-id"], name="run_by_experiment"),
            models.Index(fields=["experiment", "-started_at", "id"], name="run_as_mlflow_orders"),
            models.Index(fields=["experiment", "state", "-started_at", "id"], name="run_by_outcome"),
            models.Index(
                fields=["experiment", "-started_at", "id"], name="run_deleted", condition=Q(deleted_at__isnull=False)
            ),
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


class RunToken(models.Model):
    """The token of a job's run, for what its script logs; good while the attempt runs. The secret is not kept."""

    run = models.OneToOneField(Run, models.CASCADE, primary_key=True, related_name="token")
    attempt = models.IntegerField()
    digest = models.CharField(max_length=64, unique=True)


class RunParam(KeyValue):
    run = models.ForeignKey(Run, models.CASCADE, related_name="params", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="run_param_once")]
        # A search for a value that few runs have begins here: filters/runs.py.
        indexes = [models.Index("key", Left("value", INDEXED), "run", name="run_param_by_value")]


class RunTag(KeyValue):
    """`mlflow.runName` is not among them: it is the run's name. `mlflow.note.content` is the note, in Markdown."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="tags", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="run_tag_once")]
        # A search for a value that few runs have begins here: filters/runs.py.
        indexes = [models.Index("key", Left("value", INDEXED), "run", name="run_tag_by_value")]


class Metric(models.Model):
    """One quantity of a run: its newest, lowest and highest value. NaN is a flag: SQLite has no such number."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="metrics", db_index=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)  # the run's, for the order
    experiment = models.ForeignKey(Experiment, models.PROTECT, related_name="+", db_index=False)  # likewise
    started_at = models.DateTimeField()  # likewise: of equal values the run that began last comes first
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
    digest = models.CharField(max_length=64)  # a chain over its points in the order they came: series.extend_digest
    # Buckets of the downsampled series that are not full yet: metrics.downsampling.written
    open_buckets = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="metric_once")]
        indexes = [
            # A list ordered by a metric walks this one, in either direction.
            models.Index(fields=["project", "key", "value", "run"], name="metric_order", condition=Q(is_nan=False)),
            # MLflow's orders, whose ties the start breaks downwards in both directions.
            models.Index(
                fields=["experiment", "key", "value", "-started_at", "run"],
                name="metric_upwards",
                condition=Q(is_nan=False),
            ),
            models.Index(
                fields=["experiment", "key", "-value", "-started_at", "run"],
                name="metric_downwards",
                condition=Q(is_nan=False),
            ),
            models.Index(
                fields=["experiment", "key", "-started_at", "run"], name="metric_no_number", condition=Q(is_nan=True)
            ),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def number(self) -> float:
        return math.nan if self.is_nan else self.value


class MetricPoint(models.Model):
    """Telemetry, exempt from the audit: the record that closes the run holds the digest of all of them."""

    # Without a constraint: it would ask at every point whether the metric is there, which is as much work for the
    # database as the rest of the row. Whoever writes points holds the lock of the run's row, and so does a purge while
    # the last rows go; a writer that comes after it is stopped by the constraint of Metric.run.
    metric = models.ForeignKey(Metric, models.CASCADE, related_name="points", db_index=False, db_constraint=False)
    step = models.BigIntegerField()
    value = models.FloatField()
    is_nan = models.BooleanField(default=False)
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["metric", "step", "id"], name="point_by_step"),
            # MLflow's histories go by time; and whether a point is there already is asked here.
            models.Index(fields=["metric", "at", "step", "id"], name="point_by_time"),
        ]

    @property
    def number(self) -> float:
        return math.nan if self.is_nan else self.value


class MetricBatch(models.Model):
    """Points as a client sent them, not yet taken into the rows of their metrics. Whoever reads those takes them in
    before; so does the dispatcher, every second. What is here is as durable as a point."""

    # The statement that writes a row reads both from the run. A constraint would ask again, and write a lock to the row
    # of the run at every point; a batch whose run went meanwhile is thrown away (services/metric_ingestion.py).
    run = models.ForeignKey(Run, models.CASCADE, related_name="batches", db_constraint=False)
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="+", db_constraint=False)
    points = models.TextField()  # JSON: [[key, value, time in ms, step], ...]
    sender = models.TextField(default="")  # JSON: who sent them, for the record of what a run is sent after its end
    at = models.DateTimeField(default=timezone.now)


class MetricBucket(models.Model):
    """Consecutive points of a metric, downsampled for charts (metrics/downsampling.py)."""

    metric = models.ForeignKey(  # without a constraint, as a point
        Metric, models.CASCADE, related_name="buckets", db_index=False, db_constraint=False
    )
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


# -- data and models of a run ---------------------------------------------------------------------------------------
class RunDataset(models.Model):
    """A dataset that a client says a run used. What jobs used is in `Run.inputs` and in the lineage."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="datasets", db_index=False)
    name = models.CharField(max_length=500)
    digest = models.CharField(max_length=36)  # MLflow's, eight hex digits of what it hashes; no SHA-256
    source_type = models.CharField(max_length=36, blank=True)
    source = models.TextField(blank=True)
    schema = models.TextField(blank=True)
    profile = models.TextField(blank=True)
    context = models.CharField(max_length=250, blank=True)  # the tag mlflow.data.context
    tags = models.JSONField(default=list)  # [{key, value}], the context among them

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "name", "digest"], name="run_dataset_once")]


class LoggedModelQuerySet(models.QuerySet["LoggedModel"]):
    def visible_to(self, actor: Actor) -> LoggedModelQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


def new_model_id() -> str:
    return f"m-{uuid4().hex}"


class LoggedModel(models.Model):
    """A model that a client logged, in MLflow's format: a folder of files that may become a version of the registry."""

    MOVES = MODEL_MOVES

    id = models.CharField(primary_key=True, max_length=34, default=new_model_id, editable=False)
    project = models.ForeignKey(Project, models.PROTECT, related_name="logged_models", db_index=False)
    experiment = models.ForeignKey(Experiment, models.PROTECT, related_name="logged_models", db_index=False)
    name = models.CharField(max_length=500)
    model_type = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=13, default=LoggedModelState.PENDING, choices=LoggedModelState.choices)
    source_run = models.ForeignKey(Run, models.PROTECT, null=True, related_name="logged_models")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True)

    objects = LoggedModelQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["experiment", "-created_at", "id"], name="logged_model_recent"),
            models.Index(fields=["project", "-created_at", "id"], name="logged_model_of_project"),
        ]

    def __str__(self) -> str:
        return self.name


class LoggedModelParam(KeyValue):
    model = models.ForeignKey(LoggedModel, models.CASCADE, related_name="params", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "key"], name="logged_model_param_once")]


class LoggedModelTag(KeyValue):
    model = models.ForeignKey(LoggedModel, models.CASCADE, related_name="tags", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "key"], name="logged_model_tag_once")]


class LoggedModelMetric(models.Model):
    """A point of a run's metric that was logged for this model; the newest of each key, dataset and run counts."""

    model = models.ForeignKey(LoggedModel, models.CASCADE, related_name="metrics", db_index=False)
    run = models.ForeignKey(Run, models.CASCADE, related_name="+")
    key = models.CharField(max_length=250)
    value = models.FloatField()
    is_nan = models.BooleanField(default=False)
    step = models.BigIntegerField()
    at = models.DateTimeField()
    dataset_name = models.CharField(max_length=500, blank=True)
    dataset_digest = models.CharField(max_length=36, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["model", "key", "dataset_name", "dataset_digest", "run"], name="logged_model_metric_once"
            )
        ]


class LoggedModelArtifact(models.Model):
    model = models.ForeignKey(LoggedModel, models.CASCADE, related_name="artifacts", db_index=False)
    path = models.CharField(max_length=500)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    size = models.BigIntegerField()
    media_type = models.CharField(max_length=120)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "path"], name="logged_model_artifact_once")]


class RunModel(models.Model):
    """A logged model that a run read or made."""

    class Direction(models.TextChoices):
        INPUT = "input"
        OUTPUT = "output"

    run = models.ForeignKey(Run, models.CASCADE, related_name="models", db_index=False)
    model = models.ForeignKey(LoggedModel, models.CASCADE, related_name="runs")
    direction = models.CharField(max_length=6, choices=Direction.choices)
    step = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "model", "direction"], name="run_model_once")]


# -- workspace ------------------------------------------------------------------------------------------------------
class RunPanelQuerySet(models.QuerySet["RunPanel"]):
    def visible_to(self, actor: Actor) -> RunPanelQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class RunPanel(models.Model):
    """A chart of the list of runs, for everybody of the project: which metrics of the selected runs, and how drawn."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="run_panels")
    title = models.CharField(max_length=100, blank=True)  # empty: the names of its metrics
    metrics = models.JSONField(default=list)  # keys
    axis = models.CharField(max_length=10, blank=True)  # step, relative, time; empty: the usual one of the metrics
    scale = models.CharField(max_length=10, blank=True)  # linear, log; empty: what suits the values
    smooth = models.FloatField(default=0)  # weight of the moving average
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RunPanelQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title or ", ".join(self.metrics)

    @property
    def html_id(self) -> str:
        return str(self.pk)
