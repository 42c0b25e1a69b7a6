"""Which runs are nested in which: read from the tag that MLflow's clients know, for lists and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.db.models import Count
from django.db.models.functions import Left

from apps.ml.experiments.keys import PARENT_TAG
from apps.ml.experiments.models import INDEXED, Run, RunTag


@dataclass(frozen=True, slots=True)
class Nesting:
    """Of some runs."""

    parents: dict[str, Run] = field(default_factory=dict)  # {run: the one that it is nested in}
    children: dict[str, int] = field(default_factory=dict)  # {run: how many are nested in it}


def load_nesting(runs: Sequence[Run], parents: Mapping[str, Run] | None = None) -> Nesting:
    """Two or three queries, however many runs; one where their `parents` are known. A parent that is gone, or of
    another project, is none."""
    ids = [run.pk for run in runs]
    if not ids:
        return Nesting()
    if parents is not None:
        return Nesting(dict(parents), count_children(runs))
    parent_ids = dict(RunTag.objects.filter(run__in=ids, key=PARENT_TAG).values_list("run_id", "value"))
    by_id = {run.pk: run for run in runs}
    missing = {pk for pk in parent_ids.values() if pk not in by_id}
    if missing:
        fetched = Run.objects.filter(pk__in=missing, project_id=runs[0].project_id).only("id", "name", "project_id")
        by_id |= {run.pk: run for run in fetched}
    return Nesting({run: by_id[parent] for run, parent in parent_ids.items() if parent in by_id}, count_children(runs))


def count_children(runs: Sequence[Run]) -> dict[str, int]:
    """{run: how many are nested in it}; one query."""
    # By the index of tags, which holds the first characters of their values.
    tags = RunTag.objects.annotate(head=Left("value", INDEXED)).filter(
        key=PARENT_TAG, head__in=[run.pk for run in runs]
    )
    nested = tags.filter(run__project_id=runs[0].project_id, run__deleted_at=None)
    return dict(nested.order_by().values_list("head").annotate(Count("pk")))


def load_nesting_of_page(run: Run, tags: Sequence[RunTag] | None) -> Nesting:
    """As load_nesting, of one run whose tags are perhaps read already. In a job's run nothing is nested."""
    if tags is None:
        tags = list(RunTag.objects.filter(run=run, key=PARENT_TAG))
    parent_id = next((tag.value for tag in tags if tag.key == PARENT_TAG), None)
    parent = Run.objects.filter(pk=parent_id, project_id=run.project_id).first() if parent_id else None
    children = count_children([run]) if run.job_id is None else {}
    return Nesting({run.pk: parent} if parent else {}, children)


def order_as_tree(runs: Sequence[Run], nesting: Nesting) -> list[Run]:
    """The same runs, each behind the one that it is nested in where that is among them; otherwise as they were."""
    on_page = {run.pk for run in runs}
    below: dict[str, list[Run]] = {}
    for run in runs:
        parent = nesting.parents.get(run.pk)
        below.setdefault(parent.pk if parent is not None and parent.pk in on_page else "", []).append(run)
    ordered: list[Run] = []
    waiting = list(reversed(below.get("", [])))
    while waiting:
        run = waiting.pop()
        ordered.append(run)
        waiting.extend(reversed(below.get(run.pk, [])))
    placed = {run.pk for run in ordered}
    return ordered + [run for run in runs if run.pk not in placed]  # runs that name each other as parents


def build_children_query(run_id: str) -> str:
    """The query of the list of runs that are nested in this one."""
    return urlencode({"filter": f"tags.`{PARENT_TAG}` = '{run_id}'"})
