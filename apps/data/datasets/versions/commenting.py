"""Dataset versions as objects that people comment on."""

from __future__ import annotations

from django.db.models import CharField, QuerySet
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.data.datasets.labels.restrictions import list_hidden_versions
from apps.data.datasets.models import DatasetVersion
from apps.platform.accounts.models import Project
from apps.platform.comments.models import Comment
from apps.platform.comments.objects import CommentObject, parse_key

OBJECT_TYPE = "datasetversion"


def find_dataset_version(actor: Actor, project: Project, pk: str) -> DatasetVersion | None:
    key = parse_key(pk)
    versions = DatasetVersion.objects.visible_to(actor).filter(dataset__project=project)
    return versions.select_related("dataset").defer("manifest").filter(pk=key).first() if key is not None else None


def build_dataset_version_path(project: Project, version: DatasetVersion) -> str:
    return reverse("datasets:version", args=[project.slug, version.dataset.name, version.number])


def list_hidden_comments(actor: Actor) -> QuerySet[Comment, str]:
    """Ids of the comments on versions that a security label hides from `actor`. Registered in HIDDEN_OBJECTS."""
    comments = Comment.objects.filter(object_type=OBJECT_TYPE, object_id__in=list_hidden_versions(actor))
    return comments.values_list(Cast("pk", CharField()), flat=True)


DATASET_VERSION_COMMENTS = CommentObject(
    label=_("Dataset version"),
    view_permission="dataset.view",
    find_object=find_dataset_version,
    build_path=build_dataset_version_path,
)
