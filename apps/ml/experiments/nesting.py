"""Which runs are nested in which: read from the tag that MLflow's clients know, for lists and pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.db.models import Count, OuterRef, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Left

from apps.ml.experiments.keys import PARENT_TAG
from apps.ml.experiments.models import INDEXED, Run, RunTag

MAX_TAG_KEYS = 60  # that a list offers to group its runs by
SHOWN_TAG = -1  # in the place of a count
NO_TEXT = Value("", output_field=TextField())


@dataclass(frozen=True, slots=True)
class Nesting:
    """Of some runs."""

    parents: dict[str, Run] = field(default_factory=dict)  # {run: the one that it is nested in}
    children: dict[str, int] = field(default_factory=dict)  # {run: how many are nested in it}
    tag_keys: list[str] = field(default_factory=list)  # the first keys of the tags of these runs
    tags: defaultdict[str, list[tuple[str, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )  # {run: (key, value)}


def load_nesting(
    runs: Sequence[Run], parents: Mapping[str, Run] | None = None, shown_tags: QuerySet[RunTag] | None = None
) -> Nesting:
    """One query, however many runs. `parents`: where they are known. A parent that is gone, or of another project, is
    none. `shown_tags`: those that the list shows, for Nesting.tags."""
    if not runs:
        return Nesting()
    project_id = runs[0].project_id
    tags = RunTag.objects.filter(run__in=[run.pk for run in runs])
    first_keys = tags.order_by("key").values("key").distinct()[:MAX_TAG_KEYS]
    keys = tags.filter(key__in=first_keys).order_by().values_list("key", Value(0), NO_TEXT, NO_TEXT).distinct()
    counts = query_child_counts(runs).annotate(parent=NO_TEXT, parent_name=NO_TEXT)
    parts = [keys]
    if parents is None:
        names = Run.objects.filter(pk=OuterRef("value"), project_id=project_id).values("name")
        of_runs = tags.filter(key=PARENT_TAG, value__gt="").order_by()
        parts.append(of_runs.values_list("run_id", Value(0), "value", Subquery(names, output_field=TextField())))
    if shown_tags is not None:
        few = RunTag.objects.filter(pk__in=shown_tags.values("pk")).order_by()
        parts.append(few.values_list("run_id", Value(SHOWN_TAG), "key", "value"))
    by_id = {run.pk: run for run in runs}
    nesting = Nesting(dict(parents or {}))
    for text, count, parent, name in counts.union(*parts, all=True):
        if count == SHOWN_TAG:
            nesting.tags[text].append((parent, name))
        elif count:
            nesting.children[text] = count
        elif not parent:
            nesting.tag_keys.append(text)
        elif name is not None:
            nesting.parents[text] = by_id.setdefault(parent, Run(id=parent, name=name, project_id=project_id))
    nesting.tag_keys.sort()
    for pairs in nesting.tags.values():
        pairs.sort()
    return nesting


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
