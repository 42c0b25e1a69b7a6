"""What a dataset's label hides outside of the dataset: bytes among artifacts, ends of lineage, records.

On most planes nothing is labelled: each condition begins with that, so that it costs one look at an index.
"""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Cast

from apps.core.actors import Actor
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion


def build_hidden_holding(actor: Actor) -> Any:
    """Holdings of bytes that only versions of datasets above the actor's clearance have, in that project, or had until
    they were deleted."""
    labelled = Dataset.objects.filter(security_label__gt=actor.clearance)
    files = DatasetFile.objects.filter(
        artifact=OuterRef("artifact_id"), version__dataset__project=OuterRef("project_id"), version__deleted_at=None
    )
    above = files.filter(version__dataset__security_label__gt=actor.clearance)
    below = files.filter(version__dataset__security_label__lte=actor.clearance)
    return Q(security_label__gt=actor.clearance) | (Exists(labelled) & Exists(above) & ~Exists(below))


def list_hidden_versions(actor: Actor) -> QuerySet[Any, str]:
    """Ids, as text, of the versions of datasets above the actor's clearance."""
    versions = DatasetVersion.objects.filter(dataset__security_label__gt=actor.clearance)
    return versions.values_list(Cast("pk", CharField()), flat=True)


def list_hidden_datasets(actor: Actor) -> QuerySet[Any, str]:
    datasets = Dataset.objects.filter(security_label__gt=actor.clearance)
    return datasets.values_list(Cast("pk", CharField()), flat=True)
