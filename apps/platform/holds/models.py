"""Legal holds: what must not be deleted, whoever owns it, until whoever may say so says otherwise."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.platform.accounts.models import Project


class HoldQuerySet(models.QuerySet["Hold"]):
    def visible_to(self, actor: Actor) -> HoldQuerySet:
        """Members see what holds their projects' objects; the auditor, who decides, sees all of them."""
        if actor.plane_role or (actor.system_role and actor.scopes is None):
            return self
        return self.filter(project_id__in=actor.project_ids)


class Hold(models.Model):
    """One object of a project, or the whole project, is held. Released it stays here as its history.

    No foreign key to the object: holds lie below the apps whose objects they name.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    object_type = models.CharField(max_length=40)  # a key of HOLD_OBJECTS; "project": all of it
    object_id = models.CharField(max_length=80, blank=True)
    reason = models.CharField(max_length=2000)
    placed_by = models.CharField(max_length=200)
    placed_at = models.DateTimeField(auto_now_add=True)
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=200, blank=True)
    release_reason = models.CharField(max_length=2000, blank=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "object_type", "object_id"], condition=Q(released_at=None), name="hold_once"
            )
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="hold_recent"),
            # Collecting garbage asks by digest, whatever the project.
            models.Index(fields=["object_type", "object_id"], name="hold_by_object", condition=Q(released_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.object_type} {self.object_id}".strip()

    @property
    def pk_text(self) -> str:
        """Its key as a part of an element's id in pages."""
        return str(self.pk)
