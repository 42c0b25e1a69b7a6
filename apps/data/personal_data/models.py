"""Columns of datasets that people marked as personal data."""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.data.datasets.models import Dataset
from apps.data.personal_data.categories import SENSITIVE, Category, LegalBasis


class PersonalColumnQuerySet(models.QuerySet["PersonalColumn"]):
    def visible_to(self, actor: Actor) -> PersonalColumnQuerySet:
        """Of the actor's projects, up to the actor's clearance; all of them for who keeps the inventory."""
        if actor.plane_role or is_allowed(actor, "personal_data.view_plane"):
            return self
        own = self.filter(dataset__project_id__in=actor.project_ids)
        return own if actor.is_cleared_for_all else own.filter(dataset__security_label__lte=actor.clearance)


class PersonalColumn(models.Model):
    """A column of this name is personal data in every version of the dataset, later ones too."""

    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="personal_columns", db_index=False)
    column = models.CharField(max_length=200)
    category = models.CharField(max_length=20, choices=Category.choices)
    purpose = models.CharField(max_length=200)
    legal_basis = models.CharField(max_length=20, choices=LegalBasis.choices)
    retain_until = models.DateField()  # the last day of use
    marked_by = models.CharField(max_length=200)
    marked_at = models.DateTimeField()

    objects = PersonalColumnQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "column"], name="personal_column_once")]
        indexes = [models.Index(fields=["retain_until", "id"], name="personal_column_by_end")]

    def __str__(self) -> str:
        return f"{self.dataset.name} {self.column}"

    @property
    def project_id(self) -> int:
        return self.dataset.project_id

    @property
    def data_label(self) -> int:
        return self.dataset.security_label

    @property
    def is_sensitive(self) -> bool:
        return self.category in SENSITIVE
