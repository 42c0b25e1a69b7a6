"""Probes: the doctor of one or several nodes, run by their workers because somebody or a schedule asked for it."""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.nodes.probes.states import ACTIVE_PROBES, PROBE_MOVES, ProbeState


class ProbeQuerySet(models.QuerySet["Probe"]):
    def visible_to(self, actor: Actor) -> ProbeQuerySet:
        return self if is_allowed(actor, "node.view") else self.none()


class Probe(models.Model):
    """One request; each of its nodes has a row of its own."""

    level = models.SmallIntegerField(default=1)  # of the doctor
    key = models.CharField(max_length=120, blank=True)  # of who may send the same request twice
    requested_by = models.CharField(max_length=200)
    requested_at = models.DateTimeField(auto_now_add=True)

    objects = ProbeQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key"], name="probe_key", condition=~models.Q(key=""))]

    def __str__(self) -> str:
        return f"probe {self.pk}"


class NodeProbe(models.Model):
    """The probe of one node. Its report is that of the node's health, which is kept for a shorter time."""

    MOVES = PROBE_MOVES

    probe = models.ForeignKey(Probe, models.CASCADE, related_name="nodes", db_index=False)  # the constraint's
    node = models.ForeignKey("nodes.Node", models.CASCADE, related_name="probes", db_index=False)
    state = models.CharField(max_length=10, choices=ProbeState.choices, default=ProbeState.REQUESTED)
    cause = models.JSONField(default=dict)  # why it failed: Message.as_fields()
    report = models.ForeignKey("nodes.NodeHealthReport", models.SET_NULL, null=True, related_name="+")
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["probe", "node"], name="node_probe_once")]
        indexes = [
            models.Index(fields=["node", "-id"], name="node_probe_newest"),
            # Workers and the dispatcher look for these.
            models.Index(fields=["node"], name="node_probe_active", condition=models.Q(state__in=ACTIVE_PROBES)),
        ]

    def __str__(self) -> str:
        return f"probe {self.probe_id} of {self.node_id}"
