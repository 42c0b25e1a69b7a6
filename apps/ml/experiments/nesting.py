"""Which runs are nested in which: read from the tag that MLflow's clients know, for lists and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.db.models import Count, QuerySet, Value
from django.db.models.functions import Left

from apps.ml.experiments.keys import PARENT_TAG
from apps.ml.experiments.models import INDEXED, Run, RunTag

MAX_TAG_KEYS = 60  # that a list offers to group its runs by


@dataclass(frozen=True, slots=True)
class Nesting:
    """Of some runs."""

    parents: dict[str, Run] = field(default_factory=dict)  # {run: the one that it is nested in}
    children: dict[str, int] = field(default_factory=dict)  # {run: how many are nested in it}
    tag_keys: list[str] = field(default_factory=list)  # the first keys of the tags of these runs


def load_nesting(runs: Sequence[Run], parents: Mapping[str, Run] | None = None) -> Nesting:
    """Two or three queries, however many runs; one where their `parents` are known. A parent that is gone, or of
    another project, is none."""
    ids = [run.pk for run in runs]
    if not ids:
        return Nesting()
    if parents is not None:
        return Nesting(dict(parents), *load_child_counts(runs))
    parent_ids = dict(RunTag.objects.filter(run__in=ids, key=PARENT_TAG).values_list("run_id", "value"))
    by_id = {run.pk: run for run in runs}
    missing = {pk for pk in parent_ids.values() if pk not in by_id}
    if missing:
        fetched = Run.objects.filter(pk__in=missing, project_id=runs[0].project_id).only("id", "name", "project_id")
        by_id |= {run.pk: run for run in fetched}
    known_parents = {run: by_id[parent] for run, parent in parent_ids.items() if parent in by_id}
    return Nesting(known_parents, *load_child_counts(runs))


def load_child_counts(runs: Sequence[Run]) -> tuple[dict[str, int], list[str]]:
    """({run: how many are nested in it}, the first keys of the tags of these runs); one query."""
    tags = RunTag.objects.filter(run__in=[run.pk for run in runs])
    first_keys = tags.order_by("key").values("key").distinct()[:MAX_TAG_KEYS]
    keys = tags.filter(key__in=first_keys).order_by().values_list("key", Value(0)).distinct()
    counts: dict[str, int] = {}
    tag_keys: list[str] = []
    for name, count in query_child_counts(runs).union(keys, all=True):
        if count:
            counts[name] = count
        else:
            tag_keys.append(name)
    return counts, sorted(tag_keys)


def query_child_counts(runs: Sequence[Run]) -> QuerySet[RunTag, tuple[str, int]]:
    """(run, how many are nested in it) of those that have some."""
    # By the index of tags, which holds the first characters of their values.
    tags = RunTag.objects.annotate(head=Left("value", INDEXED)).filter(
        key=PARENT_TAG, head__in=[run.pk for run in runs]
    )
    nested = tags.filter(run__project_id=runs[0].project_id, run__deleted_at=None)
    return nested.order_by().values_list("head").annotate(Count("pk"))


def load_nesting_of_page(run: Run, tags: Sequence[RunTag] | None) -> Nesting:
    """As load_nesting, of one run whose tags are perhaps read already. In a job's run nothing is nested."""
    if tags is None:
        tags = list(RunTag.objects.filter(run=run, key=PARENT_TAG))
    parent_id = next((tag.value for tag in tags if tag.key == PARENT_TAG), None)
    parent = Run.objects.filter(pk=parent_id, project_id=run.project_id).first() if parent_id else None
    children = dict(query_child_counts([run])) if run.job_id is None else {}
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
