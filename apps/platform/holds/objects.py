"""What a legal hold may name. The apps of these objects register them; those above this app do so in their `ready`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.functional import Promise

from apps.core.registry import Registry
from apps.platform.accounts.models import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldObject:
    model: type[models.Model]
    project_path: str  # of the project's key, from the model
    label: Promise
    view_permission: str  # to be told its name: the auditor, who places holds, does not have it
    page: tuple[str, ...] = ()  # name of its URL, then what precedes its id in the arguments; empty: none

    def query_rows(self, project: Project) -> models.QuerySet[Any]:
        """The objects of this type in a project."""
        return self.model._base_manager.filter(**{self.project_path: project.pk})


HOLD_OBJECTS: Registry[HoldObject] = Registry("HOLD_OBJECTS")
"""By type, as rows of Hold keep it."""
