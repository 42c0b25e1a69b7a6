"""A sweep: many jobs of one kind, whose specs differ in the parameters of a search space.

All that a step of the dispatcher needs stands in these rows, so that it goes on wherever another one was killed.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.ml.experiments.models import Run
from apps.ml.sweeps.states import SWEEP_MOVES, TRIAL_MOVES, SweepState, TrialState
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job

NAME_LIMIT = 100  # a trial's job has it in its name


class SweepQuerySet(models.QuerySet["Sweep"]):
    def visible_to(self, actor: Actor) -> SweepQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Sweep(models.Model):
    MOVES = SWEEP_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="sweeps", db_index=False)  # indexes below
    name = models.CharField(max_length=NAME_LIMIT)
    kind = models.CharField(max_length=40)  # of its trials' jobs
    state = models.CharField(max_length=10, default=SweepState.RUNNING, choices=SweepState.choices)
    document = models.TextField()  # canonical JSON of what was asked: settings, and the job that is varied
    document_digest = models.CharField(max_length=64)
    grant = models.JSONField()  # who asked, as of Job: trials are submitted in this name
    requester = models.CharField(max_length=200)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is what the constraint skips
    run = models.OneToOneField(Run, models.PROTECT, related_name="sweep")  # the parent of its trials' runs
    ask_job = models.OneToOneField(Job, models.PROTECT, null=True, related_name="asking_sweep")  # that has not answered
    importance = models.JSONField(default=dict)  # {parameter: share}, as of the last answer
    importance_trials = models.IntegerField(default=0)  # that had ended when the last job was asked
    end_reason = models.JSONField(default=dict)  # why it ended: a message with its id and values
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    objects = SweepQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "requester", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="sweep_idempotency",
            )
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="sweep_recent"),
            models.Index(fields=["project", "state", "-id"], name="sweep_by_state"),
            models.Index(fields=["project", "requester", "-id"], name="sweep_by_requester"),
            # The dispatcher looks for these every second, however many have ended.
            models.Index(fields=["id"], name="sweep_open", condition=Q(state="running")),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.name}"

    @property
    def ended(self) -> bool:
        return self.state != SweepState.RUNNING


class SweepTrial(models.Model):
    MOVES = TRIAL_MOVES

    sweep = models.ForeignKey(Sweep, models.CASCADE, related_name="trials", db_index=False)  # the constraint's
    number = models.IntegerField()  # from 0
    values = models.JSONField()  # of the parameters, in the order of the space
    state = models.CharField(max_length=10, default=TrialState.PLANNED, choices=TrialState.choices)
    job = models.OneToOneField(Job, models.PROTECT, null=True, related_name="sweep_trial")
    objective = models.FloatField(null=True)
    step = models.BigIntegerField(null=True)  # of the metric, at which the objective was measured
    end_reason = models.JSONField(default=dict)  # why it was pruned, failed or cancelled: a message
    checked_step = models.BigIntegerField(null=True)  # of the metric, up to which pruning has looked at it
    rungs = models.JSONField(default=dict)  # of successive halving: {number of the rung: what it had reached there}
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sweep", "number"], name="sweep_trial_number")]

    def __str__(self) -> str:
        return f"trial {self.number} of sweep {self.sweep_id}"

    @property
    def project_id(self) -> int:
        return self.sweep.project_id
