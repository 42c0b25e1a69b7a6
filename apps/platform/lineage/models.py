"""Edges of the chain from data to device, recorded where outputs are registered."""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.lineage.restrictions import HIDDEN_ENDS


class EdgeQuerySet(models.QuerySet["Edge"]):
    def visible_to(self, actor: Actor) -> EdgeQuerySet:
        """Edges of the actor's projects, without those of an end that a security label hides."""
        rows = self if actor.plane_role else self.filter(project_id__in=actor.project_ids)
        if not actor.is_cleared_for_all:
            for kind, list_hidden in HIDDEN_ENDS.items():
                hidden = list_hidden(actor)
                rows = rows.exclude(source_type=kind, source_id__in=hidden)
                rows = rows.exclude(target_type=kind, target_id__in=hidden)
        return rows


class Edge(models.Model):
    """`source` went into `target`. An end is a type and an id ("dataset_version", "12"; "job", "7"), with its digest.

    No foreign keys: lineage knows nothing of the apps above it, and an edge outlives what it names.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="+")
    source_type = models.CharField(max_length=40)
    source_id = models.CharField(max_length=80)
    source_digest = models.CharField(max_length=64, blank=True)
    source_label = models.CharField(max_length=160, blank=True)
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(max_length=80)
    target_digest = models.CharField(max_length=64, blank=True)
    target_label = models.CharField(max_length=160, blank=True)
    role = models.CharField(max_length=60)  # the slot it went in by, or came out of
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EdgeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "source_type", "source_id", "target_type", "target_id", "role"], name="edge_once"
            )
        ]
        indexes = [
            # In the order of the key: of a hub the walk reads the first edges only. The other end behind it: the walk
            # reads nothing but these indexes, in which the edges of a hub lie side by side.
            models.Index(
                fields=["project", "source_type", "source_id", "id", "target_type", "target_id"], name="edge_on"
            ),
            models.Index(
                fields=["project", "target_type", "target_id", "id", "source_type", "source_id"], name="edge_back"
            ),
        ]
