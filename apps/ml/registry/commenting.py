"""Model versions as objects that people comment on."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.comments.objects import CommentObject, parse_key


def find_model_version(actor: Actor, project: Project, pk: str) -> ModelVersion | None:
    key = parse_key(pk)
    versions = ModelVersion.objects.visible_to(actor).filter(model__project=project)
    return versions.select_related("model").defer("document").filter(pk=key).first() if key is not None else None


def build_model_version_path(project: Project, version: ModelVersion) -> str:
    return reverse("registry:version", args=[project.slug, version.model.name, version.number])


MODEL_VERSION_COMMENTS = CommentObject(
    label=_("Model version"),
    view_permission="model.view",
    find_object=find_model_version,
    build_path=build_model_version_path,
)
