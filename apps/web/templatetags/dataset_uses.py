"""Runs and model versions that were made with a dataset version: `{% load dataset_uses %}`.

Datasets know nothing of runs and models, which stand above them, so the look-up stands here (see object_links.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import template
from django.template.context import Context
from django.urls import reverse

from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion
from apps.platform.jobs.models import Job
from apps.web.templatetags.object_links import get_actor

register = template.Library()
MAX_ROWS = 5


@register.simple_tag(takes_context=True)
def get_uses(context: Context, users: Iterable[Job]) -> dict[str, Any]:
    """`runs` and `models` of the jobs that took a version, which the actor may see: [{label, url}] newest first.

    Each with whether there are more. Two queries, bounded by the jobs given.
    """
    actor, slug = get_actor(context), context["request"].project.slug
    # Compared here, as a run is of its job's project: asked for the project too, SQLite goes through all its runs.
    jobs = [job.pk for job in users if actor.plane_role or job.project_id in actor.project_ids]
    of_jobs = Run.objects.filter(job__in=jobs).only("pk", "name", "state", "started_at")
    runs = sorted(of_jobs, key=lambda run: run.started_at, reverse=True)
    # The keys are sought within, for the same reason.
    of_runs = ModelVersion.objects.filter(run__in=[run.pk for run in runs]).order_by()
    visible = ModelVersion.objects.visible_to(actor).filter(pk__in=of_runs.values("pk")).select_related("model")
    versions = list(visible.defer("document").order_by("-pk")[: MAX_ROWS + 1]) if runs else []
    return {
        "runs": [
            {"label": run.name or run.pk[:8], "url": reverse("experiments:detail", args=[slug, run.pk]), "run": run}
            for run in runs[:MAX_ROWS]
        ],
        "more_runs": len(runs) > MAX_ROWS,
        "models": [
            {"label": str(version), "url": reverse("registry:version", args=[slug, version.model.name, version.number])}
            for version in versions[:MAX_ROWS]
        ],
        "more_models": len(versions) > MAX_ROWS,
    }
