"""A run made once more from what was recorded of it, and what came of that."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.ml.experiments.models import Run
from apps.ml.reruns.states import MOVES, RerunState, Verdict
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job


class RerunQuerySet(models.QuerySet["Rerun"]):
    def visible_to(self, actor: Actor) -> RerunQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Rerun(models.Model):
    """The job that makes `original` again; its run is the job's own. The verdict never changes the two runs."""

    MOVES = MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    original = models.ForeignKey(Run, models.PROTECT, related_name="reruns", db_index=False)
    job = models.OneToOneField(Job, models.PROTECT, related_name="rerun")
    state = models.CharField(max_length=10, default=RerunState.RUNNING, choices=RerunState.choices)
    relative = models.FloatField()  # tolerance: share of the larger of two numbers
    absolute = models.FloatField()  # tolerance: in the number's own unit
    foreseen = models.JSONField(default=list)  # inputs.Difference of what was known to differ when it was asked for
    verdict = models.CharField(max_length=20, blank=True, choices=Verdict.choices)  # empty: not judged
    document = models.JSONField(default=dict)  # verdicts.build_verdict, or why there is no verdict
    requester = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    judged_at = models.DateTimeField(null=True)

    objects = RerunQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["original", "-id"], name="rerun_of_run"),
            # The dispatcher looks for these every second, however many have been judged.
            models.Index(fields=["job"], name="rerun_open", condition=Q(state="running")),
        ]

    def __str__(self) -> str:
        return f"rerun {self.pk} of {self.original_id}"

    @property
    def ended(self) -> bool:
        return self.state != RerunState.RUNNING
