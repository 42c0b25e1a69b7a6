"""Runs as objects that people comment on."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.ml.experiments.models import Run
from apps.platform.accounts.models import Project
from apps.platform.comments.objects import CommentObject


def find_run(actor: Actor, project: Project, run_id: str) -> Run | None:
    return Run.objects.visible_to(actor).filter(project=project, pk=run_id).only("id", "name").first()


def build_run_path(project: Project, run: Run) -> str:
    return reverse("experiments:detail", args=[project.slug, run.pk])


RUN_COMMENTS = CommentObject(
    label=_("Run"), view_permission="run.view", find_object=find_run, build_path=build_run_path
)
