"""The list of runs as a tree: runs that are nested in none, and below an expanded one a page of those nested in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Left
from django.http import QueryDict

from apps.core.actors import Actor
from apps.core.lists.listing import parse_names
from apps.core.request_values import parse_int
from apps.ml.experiments.keys import PARENT_TAG
from apps.ml.experiments.models import INDEXED, Run, RunTag
from apps.ml.experiments.queries import RUN_ID
from apps.platform.accounts.models import Project

CHILDREN_PER_PAGE = 20
CHILDREN_ORDER = (F("started_at").desc(), "-id")
MAX_EXPANDED = 5  # runs at once
MAX_PAGES = 5_000
MAX_PARENTS = 20  # above a run that is listed below one of them; MAX_EXPANDED lets nobody see so far down
ENDLESS_PARENTS = """(
    WITH RECURSIVE above(id, links) AS (
        SELECT tag.value, 1 FROM %(table)s tag WHERE tag.run_id = %(expressions)s AND tag.key = '%(key)s'
        UNION ALL
        SELECT tag.value, above.links + 1 FROM above JOIN %(table)s tag ON tag.run_id = above.id
         WHERE tag.key = '%(key)s' AND above.links < %(most)s
    )
    SELECT COUNT(CASE WHEN id = %(expressions)s THEN 1 END) > 0 OR COUNT(DISTINCT id) = %(most)s FROM above
)"""
TREE, FLAT = "tree", "off"
EXPAND = "expand"  # of the query: <run>, or <run>.<page>
TREE_KEYS = (TREE, EXPAND, "columns", "cursor", "limit", "view", "selected", "x", "hide", "from", "to", "part")


@dataclass(slots=True)
class Children:
    """One page of the runs that are nested in an expanded one, the newest first."""

    page: int
    runs: list[Run] = field(default_factory=list)
    has_more: bool = False


def is_tree(params: QueryDict) -> bool:
    """Whether the list shows a tree: where nothing narrows it, in its usual order, unless the query says tree=off.

    What a filter finds may be nested in what it does not find, so a list that is narrowed is flat.
    """
    if params.get(TREE) == FLAT or params.get("sort", "-started") not in ("", "-started"):
        return False
    return not any(params.get(key) for key in params if key not in TREE_KEYS and key != "sort")


def filter_roots(runs: QuerySet[Run]) -> QuerySet[Run]:
    """The runs that are nested in no other run of their project that is still there.

    Runs that name each other as parents, in a circle, are nested in none, and so are those below MAX_PARENTS others:
    else nobody would find them in the tree.
    """
    parents = Run.objects.filter(
        pk=OuterRef("value"), project=OuterRef("run__project"), deleted_at__isnull=True
    ).exclude(pk=OuterRef("run"))
    parent_tags = RunTag.objects.filter(run=OuterRef("value"), key=PARENT_TAG)
    is_deep = Exists(parent_tags.filter(Exists(parent_tags)))  # in three or more: few are, and only those walk
    nested = RunTag.objects.filter(
        Exists(parents), ~is_deep | ~build_endless_parents("run_id"), run=OuterRef("pk"), key=PARENT_TAG
    )
    return runs.filter(~Exists(nested))


def build_endless_parents(run: str) -> Func:
    """Whether the parents of this run lead back to it, or go on beyond MAX_PARENTS.

    The walk ends after so many. In a circle that the run is only nested in it meets runs again: that is no endless way.
    """
    names: dict[str, Any] = {"table": RunTag._meta.db_table, "key": PARENT_TAG, "most": MAX_PARENTS}
    return Func(F(run), template=ENDLESS_PARENTS, output_field=BooleanField(), **names)


def parse_expanded(params: QueryDict) -> dict[str, int]:
    """{run: the page of its children}; what is no run's id is left out."""
    expanded: dict[str, int] = {}
    for name in parse_names(params, EXPAND):
        run_id, _, page = name.partition(".")
        if RUN_ID.fullmatch(run_id) and len(expanded) < MAX_EXPANDED:
            expanded[run_id] = parse_int(page, 1, MAX_PAGES) or 1
    return expanded


def load_children(actor: Actor, project: Project, expanded: Mapping[str, int]) -> dict[str, Children]:
    """{parent: the page of its children}; one query."""
    children = {parent: Children(page) for parent, page in expanded.items()}
    if not children:
        return children
    # Each page by its own keys: databases take no limit within a part of a union.
    pages = [
        Run.objects.filter(pk__in=select_page(actor, project, parent, page)).values("pk")
        for parent, page in expanded.items()
    ]
    tags = RunTag.objects.filter(run=OuterRef("pk"), key=PARENT_TAG)
    rows = Run.objects.filter(pk__in=pages[0].union(*pages[1:]) if pages[1:] else pages[0])
    rows = rows.annotate(parent=Subquery(tags.values("value")[:1])).select_related("experiment").defer("environment")
    for run in rows.order_by(*CHILDREN_ORDER):
        below = children[run.parent]  # type: ignore[attr-defined]
        if len(below.runs) < CHILDREN_PER_PAGE:
            below.runs.append(run)
        else:
            below.has_more = True
    return children


def select_page(actor: Actor, project: Project, parent: str, page: int) -> QuerySet[Run, dict[str, Any]]:
    """Keys of one page of children, and of the first of the next one."""
    # By the index of tags, which holds the first characters of their values.
    tags = RunTag.objects.annotate(head=Left("value", INDEXED)).filter(key=PARENT_TAG, head=parent)
    visible = Run.objects.visible_to(actor).active().filter(project=project, pk__in=tags.values("run"))
    start = (page - 1) * CHILDREN_PER_PAGE
    rows = visible.filter(~Q(pk=parent)).order_by(*CHILDREN_ORDER)
    return rows.values("pk")[start : start + CHILDREN_PER_PAGE + 1]


def build_expand_query(params: QueryDict, run_id: str, page: int | None) -> str:
    """The query of the list with this run expanded at a page; None folds it."""
    query = params.copy()
    names = [name for name in parse_names(params, EXPAND) if name.partition(".")[0] != run_id]
    if page is not None:
        names.append(run_id if page == 1 else f"{run_id}.{page}")
    query.pop(EXPAND, None)
    if names[-MAX_EXPANDED:]:
        query[EXPAND] = ",".join(names[-MAX_EXPANDED:])
    return f"?{query.urlencode(safe=',')}" if query else "?"


def insert_children(runs: Sequence[Run], children: Mapping[str, Children]) -> list[tuple[Run, int]]:
    """(run, its depth) of these runs, each expanded one followed by its children, those likewise."""
    ordered: list[tuple[Run, int]] = []
    visited: set[str] = set()
    waiting = [(run, 0) for run in reversed(runs)]
    while waiting:
        run, depth = waiting.pop()
        if run.pk in visited:  # runs that name each other as parents
            continue
        visited.add(run.pk)
        ordered.append((run, depth))
        if run.pk in children:
            waiting.extend((child, depth + 1) for child in reversed(children[run.pk].runs))
    return ordered


def map_parents(runs: Sequence[Run], children: Mapping[str, Children]) -> dict[str, Run]:
    """{run: the expanded one that it is listed below}."""
    by_id = {run.pk: run for run in runs}
    return {child.pk: by_id[parent] for parent, page in children.items() if parent in by_id for child in page.runs}
