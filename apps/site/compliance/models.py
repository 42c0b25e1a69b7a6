"""Evidence runs with the verdict of each clause, documents that people attached, and who owns what gap."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.artifacts.models import Artifact
from apps.site.compliance.states import MOVES, RunState, Verdict


class ComplianceQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> ComplianceQuerySet:
        return self if is_allowed(actor, "compliance.view") else self.none()


class EvidenceRun(models.Model):
    """All probes, run once. `probes`: the outcome of each, as the evidence folder has it."""

    MOVES: ClassVar[dict[str, frozenset[str]]] = MOVES

    state = models.CharField(max_length=20, choices=RunState.choices, default=RunState.QUEUED)
    requested_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    seconds = models.FloatField(null=True)
    met = models.PositiveSmallIntegerField(default=0)
    partly = models.PositiveSmallIntegerField(default=0)
    not_met = models.PositiveSmallIntegerField(default=0)
    not_applicable = models.PositiveSmallIntegerField(default=0)
    probes = models.JSONField(default=list)
    error = models.CharField(max_length=500, blank=True)
    # The folder as a zip, which the process of the run stores. Null: not made, or made elsewhere by the command.
    folder = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+")

    objects = ComplianceQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["state", "-id"], name="evidence_run_state"),
            models.Index(fields=["id"], name="evidence_run_open", condition=Q(state__in=("queued", "running"))),
        ]

    def __str__(self) -> str:
        return f"evidence run {self.pk}"


class ClauseResult(models.Model):
    """The verdict of one clause in one run. `since`: when the run began that first had this verdict without a break."""

    run = models.ForeignKey(EvidenceRun, models.CASCADE, related_name="results", db_index=False)
    clause = models.CharField(max_length=20)
    verdict = models.CharField(max_length=20, choices=Verdict.choices)
    since = models.DateTimeField()

    objects = ComplianceQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "clause"], name="clause_result_once")]

    def __str__(self) -> str:
        return f"{self.clause} {self.verdict}"


class Attachment(models.Model):
    """A document of the deployment that a person attached to a clause. One past `expires_on` counts no more."""

    clause = models.CharField(max_length=20)
    title = models.CharField(max_length=200)
    owner = models.CharField(max_length=200)
    dated_on = models.DateField()
    expires_on = models.DateField()
    file_name = models.CharField(max_length=200)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    attached_by = models.CharField(max_length=200)
    attached_at = models.DateTimeField(auto_now_add=True)
    withdrawn_at = models.DateTimeField(null=True)
    withdrawn_by = models.CharField(max_length=200, blank=True)

    objects = ComplianceQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["clause", "-id"], name="attachment_of_clause")]

    def __str__(self) -> str:
        return f"{self.clause} {self.title}"


class Gap(models.Model):
    """Who closes the gap of a clause, and until when."""

    clause = models.CharField(max_length=20, unique=True)
    owner = models.CharField(max_length=200)
    due_on = models.DateField()
    note = models.CharField(max_length=500, blank=True)
    updated_by = models.CharField(max_length=200)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ComplianceQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.clause} {self.owner}"
