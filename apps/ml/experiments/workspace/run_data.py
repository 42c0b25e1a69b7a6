"""What runs learned from and what became of them, by name: dataset versions, and the models of the app above."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Value
from django.urls import reverse

from apps.core.actors import Actor
from apps.core.registry import Registry
from apps.data.datasets.versions.names import find_versions_by_digest, list_digest_versions, list_version_edges
from apps.ml.experiments.models import Run, RunDataset
from apps.platform.accounts.models import Project

MAX_LINKS = 4  # of one run in a cell; a script may read thousands of files


@dataclass(frozen=True, slots=True)
class RunLink:
    """A dataset version or a model version beside a run."""

    label: str
    url: str = ""  # empty: a client named it, and the plane has no page of it


RUN_MODELS: Registry[Callable[[Actor, Project, Sequence[Run]], Mapping[str, list[RunLink]]]] = Registry("RUN_MODELS")
"""{app: its function (actor, project, runs) -> {run: the versions that were registered from it}}"""


def load_run_datasets(
    actor: Actor, project: Project, runs: Sequence[Run], names: Mapping[str, RunLink] | None = None
) -> dict[str, list[RunLink]]:
    """{run: the dataset versions that it read}: as its job's lineage recorded them, else the newest that hold the same
    bytes, else what a client named. One query. `names`: of load_input_names, where they have been read."""
    jobs = {run.job_id: run.pk for run in runs if run.job_id is not None}
    recorded = [run.pk for run in runs if run.job_id is None]
    links: dict[str, dict[str, RunLink]] = defaultdict(dict)
    edges = list_version_edges(actor, project, jobs)
    named = RunDataset.objects.filter(run__in=recorded).annotate(version=Value("")).order_by()
    digests = {digest for run in runs for digest in run.inputs.values()} if names is None else set()
    parts = [named.values_list("run_id", "name", "version")] if recorded else []
    parts += [list_digest_versions(actor, project, digests)] if digests else []
    by_digest = dict(names or {})
    # In one query: a page of runs has many others.
    for end, label, pk in (edges.union(*parts, all=True) if parts else edges) if jobs or parts else ():
        link = RunLink(label or f"#{pk}", reverse("datasets:by_id", args=[project.slug, pk]) if pk else "")
        if end in digests:
            by_digest[end] = link
        else:
            links[jobs[int(end)] if pk else end][label] = link
    for run in (run for run in runs if run.pk not in links):
        for digest in run.inputs.values():
            if digest in by_digest:
                links[run.pk][by_digest[digest].label] = by_digest[digest]
    return {run: list(of_run.values())[:MAX_LINKS] for run, of_run in links.items()}


def load_input_names(actor: Actor, project: Project, runs: Sequence[Run]) -> dict[str, RunLink]:
    """{digest: the newest dataset version that holds these bytes} of what runs read. One query."""
    by_digest = find_versions_by_digest(actor, project, (digest for run in runs for digest in run.inputs.values()))
    return {digest: RunLink(version.label, version.url) for digest, version in by_digest.items()}


def load_run_models(actor: Actor, project: Project, runs: Sequence[Run]) -> dict[str, list[RunLink]]:
    """{run: the model versions that were registered from it}, as the apps above know them."""
    links: dict[str, list[RunLink]] = defaultdict(list)
    for find in RUN_MODELS.values() if runs else ():
        for run, of_run in find(actor, project, runs).items():
            links[run] += of_run
    return {run: of_run[:MAX_LINKS] for run, of_run in links.items()}


def format_links(links: Sequence[RunLink]) -> str:
    """As a line of a CSV file says it."""
    return "; ".join(link.label for link in links)
