"""Approvals as objects that people comment on."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.comments.objects import CommentObject, parse_key


def find_approval(actor: Actor, project: Project, pk: str) -> Approval | None:
    key = parse_key(pk)
    approvals = Approval.objects.visible_to(actor).filter(project=project).only("id", "title")
    return approvals.filter(pk=key).first() if key is not None else None


def build_approval_path(project: Project, approval: Approval) -> str:
    return reverse("approvals:detail", args=[project.slug, approval.pk])


APPROVAL_COMMENTS = CommentObject(
    label=_("Approval"), view_permission="approval.view", find_object=find_approval, build_path=build_approval_path
)
