"""How good versions are on tables that are agreed upon: the sets, what was measured on them, and what is asked for.

None of these rows ever changes, but for the moment in which a set is superseded or a gate is taken away.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.data.datasets.models import DatasetVersion
from apps.ml.registry.states import GateState
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact

PREDICTIONS = "predictions"  # in the place of a variant's name


class EvaluationSetQuerySet(models.QuerySet["EvaluationSet"]):
    def visible_to(self, actor: Actor) -> EvaluationSetQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class EvaluationSet(models.Model):
    """A table and how it is measured on. Its next revision supersedes it; what was measured on it stays."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="evaluation_sets", db_index=False)
    name = models.CharField(max_length=50)
    number = models.IntegerField()  # of the revision
    description = models.CharField(max_length=500, blank=True)
    dataset_version = models.ForeignKey(DatasetVersion, models.PROTECT, related_name="evaluation_sets")
    table = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    task = models.CharField(max_length=40)  # classification, regression, forecast, ranking
    target = models.CharField(max_length=500)
    primary_metric = models.CharField(max_length=60)
    spec = models.JSONField(default=dict)  # of the evaluate job: what decides the figures
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    superseded_at = models.DateTimeField(null=True)

    objects = EvaluationSetQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name", "number"], name="evaluation_set_number"),
            models.UniqueConstraint(
                fields=["project", "name"], condition=Q(superseded_at=None), name="evaluation_set_current"
            ),
        ]
        indexes = [models.Index(fields=["project", "-id"], name="evaluation_set_by_age")]

    def __str__(self) -> str:
        return f"{self.name} r{self.number}"


class EvaluationQuerySet(models.QuerySet["Evaluation"]):
    def visible_to(self, actor: Actor) -> EvaluationQuerySet:
        """Those of versions that were not deleted."""
        evaluations_left = self.filter(version__deleted_at=None)
        return evaluations_left if actor.plane_role else evaluations_left.filter(set__project_id__in=actor.project_ids)


class Evaluation(models.Model):
    """One variant of a version on one set, as a job measured it; or predictions that whoever asked for it had made with
    a version that a client registered, which has no variant that the plane could run."""

    set = models.ForeignKey(EvaluationSet, models.PROTECT, related_name="evaluations", db_index=False)
    version = models.ForeignKey(
        "registry.ModelVersion", models.PROTECT, related_name="evaluations", db_index=False
    )  # of the variant, where there is one
    variant = models.ForeignKey(
        "registry.Variant", models.PROTECT, null=True, related_name="evaluations", db_index=False
    )
    predictions = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+")
    job_id = models.BigIntegerField()
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")  # evaluation.json
    replicates = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    pairing = models.CharField(max_length=64)  # evaluations with the same are compared row by row
    rows = models.BigIntegerField()
    metrics = models.JSONField(default=list)  # for lists; the document holds them all
    document = models.TextField()  # plane/evaluation/v1, canonical
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EvaluationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["variant", "set", "job_id"], name="evaluation_once"),
            models.UniqueConstraint(
                fields=["version", "set", "job_id"], condition=Q(variant=None), name="evaluation_by_predictions_once"
            ),
            models.CheckConstraint(
                condition=Q(variant__isnull=False, predictions=None) | Q(variant=None, predictions__isnull=False),
                name="evaluation_of_a_variant_or_predictions",
            ),
        ]
        indexes = [
            models.Index(fields=["version", "set", "-id"], name="evaluation_newest"),
            models.Index(fields=["set", "-id"], name="evaluation_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.version} {self.form} on {self.set}"

    @property
    def project_id(self) -> int:
        return self.set.project_id

    @property
    def form(self) -> str:
        """What was measured of the version: the name of a variant, or predictions."""
        return self.variant.name if self.variant is not None else PREDICTIONS

    @property
    def by_predictions(self) -> bool:
        return self.variant_id is None


class GateQuerySet(models.QuerySet["Gate"]):
    def visible_to(self, actor: Actor) -> GateQuerySet:
        return self if actor.plane_role else self.filter(model__project_id__in=actor.project_ids)


class Gate(models.Model):
    """What a version must show before anybody is asked to promote it: not to be worse than the baseline on a set."""

    model = models.ForeignKey("registry.Model", models.PROTECT, related_name="gates", db_index=False)
    set = models.ForeignKey(EvaluationSet, models.PROTECT, related_name="gates")
    metric = models.CharField(max_length=60)
    better = models.CharField(max_length=10)  # higher, lower
    variant = models.CharField(max_length=60, blank=True)  # empty: the form that was trained
    baseline = models.ForeignKey(
        "registry.ModelVersion", models.PROTECT, null=True, related_name="+", db_index=False
    )  # None: whichever is in production
    margin = models.FloatField()  # in the metric's unit: how much worse is still let through
    confidence = models.FloatField()  # of the interval of the difference
    guard_slices = models.BooleanField(default=False)  # a slice that is worse fails the gate too
    set_by = models.CharField(max_length=200)
    set_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True)

    objects = GateQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["model", "set", "metric", "variant"], condition=Q(removed_at=None), name="gate_once"
            ),
            models.CheckConstraint(condition=Q(margin__gte=0), name="gate_margin"),
            models.CheckConstraint(condition=Q(confidence__gt=0.5, confidence__lt=1), name="gate_confidence"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} ({self.set.name}-r{self.set.number})"

    @property
    def project_id(self) -> int:
        return self.model.project_id


class GateVerdict(models.Model):
    """What a gate said when a promotion was asked for. Refused or let through, it stays."""

    gate = models.ForeignKey(Gate, models.PROTECT, related_name="verdicts", db_index=False)
    version = models.ForeignKey("registry.ModelVersion", models.PROTECT, related_name="gate_verdicts", db_index=False)
    candidate = models.ForeignKey(Evaluation, models.PROTECT, null=True, related_name="+", db_index=False)
    baseline = models.ForeignKey(Evaluation, models.PROTECT, null=True, related_name="+", db_index=False)
    verdict = models.CharField(max_length=30, choices=GateState.choices)
    difference = models.FloatField(null=True)  # candidate minus baseline, in the metric's unit
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    worst = models.JSONField(null=True)  # the slice that lost most, with its corrected probability
    asked_by = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["version", "-id"], name="gate_verdict_of_version"),
            models.Index(fields=["gate", "-id"], name="gate_verdict_of_gate"),
        ]

    def __str__(self) -> str:
        return f"{self.gate}: {self.verdict}"
