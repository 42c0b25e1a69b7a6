"""The model versions that were registered from runs, for pages of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from django.urls import reverse

from apps.core import policy
from apps.core.actors import Actor
from apps.ml.experiments.models import Run
from apps.ml.experiments.workspace.run_data import RunLink
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project

MAX_VERSIONS = 500  # of one page of runs


def find_run_versions(actor: Actor, project: Project, runs: Sequence[Run]) -> dict[str, list[RunLink]]:
    """{run: its versions, the newest first}; one query. Nothing for whoever may not see models.

    Registered in RUN_MODELS.
    """
    if not policy.is_allowed(actor, "model.view", project):
        return {}
    versions = ModelVersion.objects.visible_to(actor).filter(run__in=[run.pk for run in runs])
    rows = versions.order_by("-pk").values_list("run_id", "model__name", "number")[:MAX_VERSIONS]
    links: dict[str, list[RunLink]] = defaultdict(list)
    for run, name, number in rows:
        url = reverse("registry:version", args=[project.slug, name, number])
        links[run].append(RunLink(f"{name} v{number}", url))
    return dict(links)
