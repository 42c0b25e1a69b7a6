"""Predictions that were answered somewhere, the labels that came later, and the figures of each hour.

The rows of Prediction and Label are what makes counting right: whether an id was counted already, and what a late label
is compared with. What was sent whole lies in Landing until a part, a Parquet file of one hour, holds it. Pages and
monitors read HourFigures and ClassCount alone.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import SLUG, Project
from apps.platform.artifacts.models import Artifact
from deepseek.observations.spec import CLASS_LIMIT, ID_LIMIT, VARIANT_LIMIT

FINGERPRINT_LENGTH = 32  # hex digits


class ObservationSourceQuerySet(models.QuerySet["ObservationSource"]):
    def visible_to(self, actor: Actor) -> ObservationSourceQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class SourceKind(models.TextChoices):
    ENDPOINT = "endpoint"
    DEVICE = "device"


class Task(models.TextChoices):
    """What an answer is, and so how it is compared with its label."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    OTHER = "other"  # counted, and not compared


class ObservationSource(models.Model):
    """An endpoint or a device that answers predictions. Its row is the lock under which its batches are counted."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="observation_sources", db_index=False)
    name = models.CharField(max_length=50, validators=[SLUG])
    kind = models.CharField(max_length=10, default=SourceKind.ENDPOINT, choices=SourceKind.choices)
    task = models.CharField(max_length=20, choices=Task.choices)
    sampling_rate = models.FloatField(default=1.0)  # the share of ids that is kept
    retention_days = models.IntegerField(null=True)  # null: kept
    classes = models.JSONField(default=list)  # of a classification, every class that was sent
    purged_before = models.DateTimeField(null=True)  # the start of the first hour that is still kept
    received_at = models.DateTimeField(null=True)  # when the last batch came
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ObservationSourceQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="observation_source_name")]
        indexes = [models.Index(fields=["project", "id"], name="observation_source_by_age")]

    def __str__(self) -> str:
        return self.name


class HourFiguresQuerySet(models.QuerySet["HourFigures"]):
    def visible_to(self, actor: Actor) -> HourFiguresQuerySet:
        return self if actor.plane_role else self.filter(source__project_id__in=actor.project_ids)


class HourFigures(models.Model):
    """The figures of one hour, source, model version and variant. Labels count in the hour of their prediction."""

    source = models.ForeignKey(ObservationSource, models.PROTECT, related_name="figures", db_index=False)
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+", db_index=False)
    variant = models.CharField(max_length=VARIANT_LIMIT)
    is_shadow = models.BooleanField()  # answered beside the traffic, and not returned
    hour = models.DateTimeField()  # its start
    predictions = models.BigIntegerField(default=0)
    labelled = models.BigIntegerField(default=0)
    scored = models.BigIntegerField(default=0)  # of the labelled: label and answer could be compared
    correct = models.BigIntegerField(default=0)  # of the scored, of a classification
    error_sum = models.FloatField(default=0.0)  # of absolute errors of the scored, of a regression
    error_square_sum = models.FloatField(default=0.0)
    bias_sum = models.FloatField(default=0.0)  # of answer minus label
    latency_count = models.BigIntegerField(default=0)
    latency_us_sum = models.BigIntegerField(default=0)
    latency_us_max = models.BigIntegerField(default=0)

    objects = HourFiguresQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "hour", "version", "variant", "is_shadow"], name="observation_hour_once"
            )
        ]
        indexes = [models.Index(fields=["version", "hour"], name="observation_hour_by_version")]

    def __str__(self) -> str:
        return f"{self.source_id} {self.hour:%Y-%m-%dT%H}"


class ClassCount(models.Model):
    """How often a class was answered in one hour, how often it was the label, and how often both."""

    figures = models.ForeignKey(HourFigures, models.CASCADE, related_name="classes", db_index=False)
    name = models.CharField(max_length=CLASS_LIMIT)
    predicted = models.BigIntegerField(default=0)
    labelled = models.BigIntegerField(default=0)
    correct = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["figures", "name"], name="observation_class_once")]

    def __str__(self) -> str:
        return self.name


class Prediction(models.Model):
    """That an id was counted, and the answer with which a label is compared. Gone with the retention of its source."""

    source = models.ForeignKey(ObservationSource, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=ID_LIMIT)  # the id that the sender gave it
    is_shadow = models.BooleanField()
    figures = models.ForeignKey(HourFigures, models.PROTECT, related_name="+")
    answer = models.TextField()  # JSON; empty where answers are not compared
    fingerprint = models.CharField(max_length=FINGERPRINT_LENGTH)  # of all that was sent

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "key", "is_shadow"], name="observation_prediction_once")
        ]

    def __str__(self) -> str:
        return self.key


class Label(models.Model):
    """What turned out to be right for an id. It may come before the prediction, and then waits for it."""

    source = models.ForeignKey(ObservationSource, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=ID_LIMIT)
    value = models.TextField()  # JSON
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    joined = models.BooleanField()  # a prediction of this id is there
    fingerprint = models.CharField(max_length=FINGERPRINT_LENGTH)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "key"], name="observation_label_once")]
        indexes = [
            models.Index(fields=["source", "received_at"], name="observation_label_waiting", condition=Q(joined=False))
        ]

    def __str__(self) -> str:
        return self.key


class PartKind(models.TextChoices):
    PREDICTIONS = "predictions"
    LABELS = "labels"


class Landing(models.Model):
    """Rows of one batch and hour as they were sent, until a part holds them. Written and deleted, never changed."""

    source = models.ForeignKey(ObservationSource, models.PROTECT, related_name="+", db_index=False)
    hour = models.DateTimeField()  # of the predictions, also of labels
    kind = models.CharField(max_length=12, choices=PartKind.choices)
    rows = models.IntegerField()
    size = models.IntegerField()  # characters of the payload
    payload = models.TextField()  # a line of JSON: the list of each column of deepseek.observations.spec
    received_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["source", "hour", "kind", "id"], name="observation_landing_by_hour")]

    def __str__(self) -> str:
        return f"{self.rows} {self.kind}"


class ObservationPart(models.Model):
    """A Parquet file of predictions or labels of one hour. It never changes: what comes late is another part."""

    source = models.ForeignKey(ObservationSource, models.PROTECT, related_name="parts", db_index=False)
    hour = models.DateTimeField()
    kind = models.CharField(max_length=12, choices=PartKind.choices)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    rows = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["source", "hour", "kind", "id"], name="observation_part_by_hour")]

    def __str__(self) -> str:
        return f"{self.kind} {self.hour:%Y-%m-%dT%H} ({self.pk})"

    @property
    def project_id(self) -> int:
        return self.source.project_id


class FeatureReference(models.Model):
    """What the live features of a version are compared with: the layout that they are counted by, and the profile of
    the training data, both as the engine wrote them."""

    version = models.ForeignKey(ModelVersion, models.CASCADE, related_name="feature_references", db_index=False)
    report = models.CharField(max_length=64)  # digest of the quality report that it was made of
    layout_digest = models.CharField(max_length=64)
    layout = models.TextField()  # JSON: plane/drift-layout/v1
    profile = models.TextField()  # JSON: plane/drift-profile/v1
    features = models.IntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "report"], name="observation_reference_once")]

    def __str__(self) -> str:
        return f"{self.version_id} {self.layout_digest[:12]}"


class FeatureProfile(models.Model):
    """The features of one part, source, version and hour, counted by the layout of the version's reference. Profiles of
    one layout add up: those of an hour, of a source, of a group of devices."""

    source = models.ForeignKey(ObservationSource, models.PROTECT, related_name="+", db_index=False)
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="+", db_index=False)
    hour = models.DateTimeField()
    part_key = models.BigIntegerField()  # of the part, which goes earlier than its counts
    layout_digest = models.CharField(max_length=64)
    rows = models.BigIntegerField()
    profile = models.TextField()  # JSON: plane/drift-profile/v1

    class Meta:
        constraints = [models.UniqueConstraint(fields=["part_key", "version"], name="observation_profile_once")]
        indexes = [models.Index(fields=["version", "hour"], name="observation_profile_by_hour")]

    def __str__(self) -> str:
        return f"{self.source_id} {self.hour:%Y-%m-%dT%H} {self.rows}"
