"""The card of tags on the pages of a model and of a version: components/tags.html."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.ml.registry import queries
from apps.ml.registry.models import Model, ModelVersion


def build_tags_context(actor: Actor, owner: Model | ModelVersion) -> dict[str, Any]:
    """The tags, and the addresses of the forms where this person may change them. One query, where there are tags."""
    model = owner if isinstance(owner, Model) else owner.model
    slug, kind = model.project.slug, "model" if isinstance(owner, Model) else "version"
    place = [slug, model.name] if isinstance(owner, Model) else [slug, model.name, owner.number]
    return {
        "tags": queries.list_tags(owner) if getattr(owner, "has_tags", True) else [],
        "may_tag": is_allowed(actor, "model.annotate", model),
        "set_tag_address": reverse(f"registry:set_{kind}_tag", args=place),
        "remove_tag_address": reverse(f"registry:remove_{kind}_tag", args=place),
        "tags_rest_address": reverse("api-model-tags" if kind == "model" else "api-model-version-tags", args=place),
    }
