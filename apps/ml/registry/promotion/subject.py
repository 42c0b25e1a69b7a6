"""Promotion as something to be approved: its facts, what happens when they are, and its part of the approval's page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.ml.registry import services
from apps.ml.registry.models import ModelVersion
from apps.ml.registry.promotion.facts import build_promotion_facts
from apps.ml.registry.promotion.presenters import build_promotion_context, render_promotion_sentence
from apps.platform.approvals.models import Approval


class Promotion:
    """The alias `production` of a model is to point to one of its versions; `subject_id` is the version's key."""

    label = gettext_lazy("Promotion")
    acts_at_once = True

    def current_facts(self, approval: Approval, *, deep: bool) -> Mapping[str, Any]:
        return build_promotion_facts(get_approval_version(approval), deep=deep)

    def carry_out(self, actor: Actor, approval: Approval) -> None:
        """Move the alias from the holder that was approved to be replaced, and from no other."""
        current = json.loads(approval.facts)["current"]
        services.promote(
            actor=actor,
            version=get_approval_version(approval),
            approval=approval,
            current=current["version"] if current else None,
        )

    def address(self, approval: Approval) -> str:
        facts = json.loads(approval.facts)
        return reverse("registry:version", args=[approval.project.slug, facts["model"], facts["candidate"]["version"]])

    def summary(self, approval: Approval) -> str:
        return render_promotion_sentence(json.loads(approval.facts))

    def page(self, actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
        return "registry/promotion.html", build_promotion_context(approval)


def get_approval_version(approval: Approval) -> ModelVersion:
    """The version that an approval is about; NotFound if there is none in its project."""
    versions = ModelVersion.objects.select_related("model__project", "run")
    version = versions.filter(pk=int(approval.subject_id), model__project=approval.project_id, deleted_at=None).first()
    if version is None:
        raise NotFound("The version that was to be promoted is gone.", field="subject")
    return version


PROMOTION = Promotion()
