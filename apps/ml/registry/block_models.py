"""Blocks of model versions: as long as one stands, the version is neither promoted, released, served nor downloaded."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor


class VersionBlockQuerySet(models.QuerySet["VersionBlock"]):
    def visible_to(self, actor: Actor) -> VersionBlockQuerySet:
        return self if actor.plane_role else self.filter(version__model__project_id__in=actor.project_ids)


class VersionBlock(models.Model):
    """Why a version must not be used. A lifted block stays as history."""

    version = models.ForeignKey("registry.ModelVersion", models.PROTECT, related_name="blocks", db_index=False)
    reason = models.CharField(max_length=2000)
    blocked_by = models.CharField(max_length=200)
    blocked_at = models.DateTimeField(auto_now_add=True)
    lift_reason = models.CharField(max_length=2000, blank=True)
    lifted_by = models.CharField(max_length=200, blank=True)
    lifted_at = models.DateTimeField(null=True)  # null: it stands

    objects = VersionBlockQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version"], condition=Q(lifted_at=None), name="version_blocked_once")
        ]
        indexes = [models.Index(fields=["version", "-id"], name="version_blocks")]

    def __str__(self) -> str:
        return self.reason

    @property
    def project_id(self) -> int:
        return self.version.project_id
