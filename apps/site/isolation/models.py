"""The network policy of the site, every version of it, and what the probes of its nodes found."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.nodes.models import Node


class PolicyVersionQuerySet(models.QuerySet["PolicyVersion"]):
    def visible_to(self, actor: Actor) -> PolicyVersionQuerySet:
        return self if is_allowed(actor, "isolation.view") else self.none()


class PolicyVersion(models.Model):
    """One version of the policy, never changed; the newest counts. `number` is 1 for the first."""

    number = models.PositiveIntegerField(unique=True)
    document = models.JSONField()  # deepseek.isolation.spec.Policy
    digest = models.CharField(max_length=64)  # of the document: a node's report says which it has applied
    reason = models.CharField(max_length=200)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PolicyVersionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"v{self.number}"


class ProbeReportQuerySet(models.QuerySet["ProbeReport"]):
    def visible_to(self, actor: Actor) -> ProbeReportQuerySet:
        return self if is_allowed(actor, "isolation.view") else self.none()


class ProbeReport(models.Model):
    """What `deepseek isolate verify` found on a node: telemetry, exempt from the audit, kept for a time."""

    node = models.ForeignKey(Node, models.CASCADE, related_name="probe_reports", db_index=False)
    at = models.DateTimeField(db_default=Now())  # by the database's clock, when it came in
    verdict = models.CharField(max_length=10)  # refused, passed or unknown: the worst of its results
    policy_digest = models.CharField(max_length=64, blank=True)  # of the policy in force there; empty: none
    is_privileged = models.BooleanField(default=False)  # only root can tell what left the machine
    results = models.JSONField(default=list)  # deepseek.isolation.probes.ProbeResult

    objects = ProbeReportQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["node", "-id"], name="probe_report_newest"),
            models.Index(fields=["at"], name="probe_report_age"),  # for those who expire them
        ]

    def __str__(self) -> str:
        return f"probes {self.pk} of {self.node_id}"
