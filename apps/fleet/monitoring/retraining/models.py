"""What a monitor does about an alarm: how its model is trained again, and each time that it was."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.fleet.monitoring.retraining.states import DRIVEN, RETRAINING_MOVES, DataMode, RetrainingState
from apps.ml.pipelines.models import Pipeline
from apps.ml.registry.models import EvaluationSet, Model, ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.jobs.models import Job


class RetrainingPlan(models.Model):
    """That an alarm of a monitor has its model trained again, and within which limits. Without a row it has not."""

    monitor = models.OneToOneField("monitoring.Monitor", models.CASCADE, related_name="retraining_plan")
    causes = models.JSONField()  # of alarms
    weekly_budget = models.PositiveIntegerField(default=1)  # retrainings that start within seven days
    mode = models.CharField(max_length=10, choices=DataMode.choices, default=DataMode.APPEND)
    min_rows = models.PositiveIntegerField(default=100)  # labelled, below which nothing is trained
    wait_hours = models.PositiveIntegerField(default=24)  # for so many labels
    fresh_share = models.FloatField(default=0.25)  # of the labelled rows, the newest: evaluated on, not trained on
    # Its newest version is the fresh data; null: answers with labels, as rows of the table that the model learns from.
    dataset = models.ForeignKey(Dataset, models.PROTECT, null=True, related_name="+")
    grant = models.JSONField()  # of whoever set it, as an actor record with scopes: the rights it runs with
    set_by = models.CharField(max_length=200)
    set_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"retraining of {self.monitor_id}"

    @property
    def project_id(self) -> int:
        return self.monitor.project_id


class RetrainingQuerySet(models.QuerySet["Retraining"]):
    def visible_to(self, actor: Actor) -> RetrainingQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Retraining(models.Model):
    """What followed an alarm: data, a pipeline, evaluations and a request for approval. Never more than one of each."""

    MOVES = RETRAINING_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="retrainings", db_index=False)
    monitor = models.ForeignKey("monitoring.Monitor", models.PROTECT, related_name="retrainings", db_index=False)
    alarm = models.OneToOneField("monitoring.Alarm", models.PROTECT, related_name="retraining")
    model = models.ForeignKey(Model, models.PROTECT, related_name="+", db_index=False)
    former = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+", db_index=False)
    state = models.CharField(max_length=20, choices=RetrainingState.choices, default=RetrainingState.QUEUED)
    state_reason = models.JSONField(default=dict)  # why it failed, was refused or was not approved: Message.as_fields()
    settings = models.JSONField()  # of the plan, as they were when it began
    grant = models.JSONField()  # likewise
    since = models.DateTimeField()  # predictions from then on are its data
    until = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()  # labels are waited for until then
    data_job = models.ForeignKey(Job, models.PROTECT, null=True, related_name="+", db_index=False)
    data = models.ForeignKey(DatasetVersion, models.PROTECT, null=True, related_name="+", db_index=False)
    fresh_set = models.ForeignKey(EvaluationSet, models.PROTECT, null=True, related_name="+", db_index=False)
    pipeline = models.ForeignKey(Pipeline, models.PROTECT, null=True, related_name="+", db_index=False)
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+")  # that came of it
    evaluations = models.JSONField(default=list)  # [{set, version, variant, job}] that were asked for
    facts = models.JSONField(default=dict)  # what approvers see beside those of the promotion
    approval = models.ForeignKey(Approval, models.PROTECT, null=True, related_name="+", db_index=False)
    faults = models.PositiveIntegerField(default=0)  # in a row, of the plane itself
    next_at = models.DateTimeField(null=True)  # null once it has ended
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = RetrainingQuerySet.as_manager()

    class Meta:
        constraints = [
            # Two monitors of a model must not train it twice at the same time.
            models.UniqueConstraint(fields=["model"], condition=Q(state__in=DRIVEN), name="retraining_active_once")
        ]
        indexes = [
            # The dispatcher looks for these every second.
            models.Index(fields=["next_at"], name="retraining_due", condition=Q(next_at__isnull=False)),
            models.Index(fields=["monitor", "-id"], name="retraining_of_monitor"),
            models.Index(fields=["project", "-id"], name="retraining_recent"),
        ]

    def __str__(self) -> str:
        return f"retraining {self.pk}"
