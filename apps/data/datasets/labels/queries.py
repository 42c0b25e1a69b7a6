"""Labels of every project and dataset, for those who set and audit them."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.data.datasets.models import Dataset
from apps.platform.accounts.models import Project


def list_project_labels(actor: Actor) -> QuerySet[Project]:
    """Every project, with `labelled_datasets`, the number of its datasets that have a label of their own."""
    policy.require(actor, "label.view")
    labelled = Count("datasets", filter=Q(datasets__security_label__gt=0))
    return Project.objects.annotate(labelled_datasets=labelled)


def list_dataset_labels(actor: Actor, project: Project) -> QuerySet[Dataset]:
    """The datasets of a project with their labels; of their contents nothing is shown here."""
    policy.require(actor, "label.view")
    return Dataset.objects.filter(project=project).defer("expectations")


def get_labelled_dataset(actor: Actor, project: Project, name: str) -> Dataset:
    dataset = list_dataset_labels(actor, project).filter(name=name).select_related("project").first()
    if dataset is None:
        raise NotFound("The project has no dataset {name!r}.", name=name[:60], field="/dataset")
    return dataset
