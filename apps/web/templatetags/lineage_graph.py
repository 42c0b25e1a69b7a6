"""The lineage graph of an object: its layout, grouped siblings, the path to production, and the same nodes as a list.

`{% load lineage_graph %}{% lineage "job" "7" %}`. The view is the address: focus, depth, direction, expand, collapse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django import template
from django.db.models import CharField, Value
from django.db.models.functions import Cast
from django.template.context import Context
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core.errors import Invalid, Malformed
from apps.core.lists.pages import Page, paginate_in_memory
from apps.ml.experiments.models import Run
from apps.ml.registry.models import Alias
from apps.ml.registry.states import PRODUCTION
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job
from apps.platform.lineage import grouping
from apps.platform.lineage.layout import draw_graph, order_parents_first
from apps.platform.lineage.queries import DIRECTIONS, EDGES_PER_NODE, MAX_DEPTH, MAX_NODES, Graph, fetch_graph
from apps.platform.lineage.query import NAMES, GraphQuery, parse_graph_query
from apps.platform.lineage.steps import get_node_url, get_type_label
from apps.platform.lineage.traversal import Key
from apps.web.templatetags.base_tags import describe_state
from apps.web.templatetags.formats import format_number
from apps.web.templatetags.object_links import get_actor

register = template.Library()

ICONS = {
    "source": "external",
    "dataset_version": "data",
    "job": "jobs",
    "run": "runs",
    "artifact": "file",
    "variant": "cols",
    "model_version": "models",
    "release": "models",
    "foreign_job": "jobs",
    "foreign_dataset": "data",
}
ARTIFACT = "artifact"
MAX_BOXES_WITH_ARTIFACTS = 24  # of more, artifacts are folded into the edges at first, but for those beside the root
MAX_MATCHES = 20  # nodes that are looked for and so stand for themselves
MAX_LABEL_LETTERS = 17  # of a name that is drawn; the whole one is its title
MAX_SOURCES = 4  # sources that a row of the list names
PICTURE_PARAMS = (*(name for name in NAMES if name not in ("depth", "direction")), "list")  # what another focus drops
ROWS_PER_PAGE = 50  # rows of the list on one page
DEPTHS = (1, 2, 3, 6, 12, 25, MAX_DEPTH)


@register.inclusion_tag("lineage/drawn.html", takes_context=True)
def lineage(context: Context, type: str, id: object) -> dict[str, Any]:
    """The graph around one object; three queries."""
    request = context["request"]
    shared = {"request": request, "type": type, "id": str(id), "root": f"{type}:{id}"}
    try:
        query, wrong = parse_graph_query(request.GET, (type, str(id))), None
    except Invalid as error:
        query, wrong = GraphQuery((type, str(id))), error
    subgraph = fetch_graph(
        get_actor(context), request.project, *query.root, direction=query.direction, depth=query.depth
    )
    shared |= {"wrong": wrong, "asked": query, "controls": build_controls(query), "keep": list_kept_params(request.GET)}
    if not subgraph.edges:
        return shared
    view = build_view(subgraph, query, request)
    summary = {"truncated": subgraph.truncated, "nodes": len(subgraph.nodes), "edges": len(subgraph.edges)}
    summary |= build_match_links(view)
    listed = order_nodes(view)
    try:
        page = paginate_list(listed, request.GET.get("list", ""))
    except Malformed as error:
        error.field = "list"  # what this cursor is called in the address
        page, shared["wrong"] = paginate_list(listed), error
    summary |= {
        "listed": len(listed),
        "page": page,
        "rows": build_rows(view, page.items),
        "csv": build_csv_url(query, request),
    }
    return shared | build_picture(view) | summary | {"in_production": bool(view.production)}


def build_match_links(view: GraphView) -> dict[str, Any]:
    """The nodes that were looked for, each with the address that draws the graph around it."""
    around = drop_params(view.request, *PICTURE_PARAMS)
    links = [
        {
            "label": view.labels[key],
            "focus": f"{around}focus={quote(':'.join(key))}#graph",
        }
        for key in view.matches[:MAX_MATCHES]
    ]
    return {"matches": links, "matched": len(view.matches), "unmatched": bool(view.query.find) and not links}


def list_kept_params(query: Any) -> list[tuple[str, str]]:
    own = ("depth", "direction", "find", "list")
    return [(name, value) for name in query if name not in own for value in query.getlist(name)]


def build_controls(query: GraphQuery) -> dict[str, Any]:
    labels = {
        "both": _("both ways"),
        "up": _("its sources"),
        "down": _("its derivatives"),
    }
    depths = sorted({*DEPTHS, query.depth})
    return {
        "directions": [(value, labels[value]) for value in ("both", *(d for d in DIRECTIONS if d != "both"))],
        "depths": [(n, ngettext("%(n)d step", "%(n)d steps", n) % {"n": n}) for n in depths],
    }


def load_marks(project: Project, subgraph: Graph) -> tuple[dict[Key, str], set[Key]]:
    """({job or run: its state}, the model versions that are in production); one query."""
    ids = {type: [key[1] for key in subgraph.nodes if key[0] == type] for type in ("job", "run", "model_version")}
    text = CharField()
    jobs = Job.objects.filter(project=project, pk__in=[int(pk) for pk in ids["job"] if pk.isdecimal()]).order_by()
    runs = Run.objects.filter(project=project, pk__in=ids["run"]).order_by()
    versions = [int(pk) for pk in ids["model_version"] if pk.isdecimal()]
    aliases = Alias.objects.filter(model__project=project, version__in=versions, name=PRODUCTION).order_by()
    rows = jobs.values_list(Value("job", text), Cast("pk", text), "state").union(
        runs.values_list(Value("run", text), Cast("pk", text), "state"),
        aliases.values_list(Value("model_version", text), Cast("version_id", text), Value(PRODUCTION, text)),
        all=True,
    )
    states: dict[Key, str] = {}
    production: set[Key] = set()
    for type, pk, state in rows:
        if type == "model_version":
            production.add((type, pk))
        else:
            states[type, pk] = state
    return states, production


# -- the drawing ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class GraphView:
    """A graph and what is known of its nodes: asked for once, and used by the drawing and by the list."""

    subgraph: Graph
    query: GraphQuery
    states: Mapping[Key, str]
    production: Collection[Key]
    way: Collection[Key]
    request: Any
    labels: Mapping[Key, str]
    urls: Mapping[Key, str]
    kinds: Mapping[str, str]
    matches: Sequence[Key] = ()  # of what is looked for, the nearest first


class NodeAddresses(dict[Key, str]):
    """Where each node has its page, made out when it is asked for: of a thousand nodes a page shows some."""

    def __init__(self, subgraph: Graph, slug: str) -> None:
        self.subgraph, self.slug = subgraph, slug

    def __missing__(self, key: Key) -> str:
        self[key] = get_node_url(self.subgraph.nodes[key], self.slug)
        return self[key]


def build_view(subgraph: Graph, query: GraphQuery, request: Any) -> GraphView:
    states, production = load_marks(request.project, subgraph)
    labels = {key: get_label(subgraph, key) for key in subgraph.nodes}
    return GraphView(
        subgraph=subgraph,
        query=query,
        states=states,
        production=production,
        way=grouping.find_main_path(subgraph, production),
        request=request,
        labels=labels,
        urls=NodeAddresses(subgraph, request.project.slug),
        kinds={type: get_type_label(type) for type in {key[0] for key in subgraph.nodes}},
        matches=find_matches(subgraph, labels, query.find),
    )


def find_matches(subgraph: Graph, labels: Mapping[Key, str], find: str) -> list[Key]:
    """The nodes whose name, id or digest holds the text, in any case: those named just so first, then the nearest."""
    text = find.casefold()
    if not text:
        return []
    texts = {key: (labels[key].casefold(), key[1].casefold(), subgraph.nodes[key].digest) for key in subgraph.nodes}
    matches = [key for key, names in texts.items() if any(text in name for name in names)]
    return sorted(
        matches, key=lambda key: (text not in texts[key], abs(subgraph.nodes[key].depth), grouping.get_sort_key(key))
    )


def build_picture(view: GraphView) -> dict[str, Any]:
    """Boxes and edges in pixels, with siblings that are alike as one box."""
    subgraph, way = view.subgraph, view.way
    nodes = grouping.find_visible_nodes(subgraph, view.query.collapse)
    stands = grouping.assign_representatives(subgraph, nodes, find_separate_nodes(view, nodes), view.query.expand)
    members: dict[Key, list[Key]] = defaultdict(list)
    for key in nodes:
        members[stands[key]].append(key)
    edges = {(stands[a], stands[b]) for a, b in grouping.list_edge_ends(subgraph) if a in stands and b in stands}
    folded = find_folded_artifacts(view, members, edges)
    edges = grouping.bridge_edges(edges, folded) if folded else edges
    artifacts = sum(len(members.pop(key)) for key in folded)
    names = {key: f"{key[0]}:{key[1]}" for key in members}
    order = sorted(members, key=lambda key: (subgraph.nodes[key].depth, key))
    parents = order_parents_first([names[key] for key in order], sorted((names[a], names[b]) for a, b in edges))
    drawing = draw_graph(parents, most=MAX_NODES * EDGES_PER_NODE)
    if drawing is None:
        return {}
    keys = {name: key for key, name in names.items()}
    lines = [{"path": path, "way": keys[a] in way and keys[b] in way} for a, b, path in drawing.edges]
    hidden, folds = find_fold_points(subgraph, nodes), drop_params(view.request, "collapse")
    boxes = [
        describe_box(view, keys[box.name], members[keys[box.name]], hidden, folds) | {"box": box}
        for box in drawing.boxes
    ]
    lines.sort(key=lambda line: bool(line["way"]))  # the thick ones on top
    graph = {"width": drawing.width, "height": drawing.height, "boxes": boxes, "edges": lines}
    grouped = sum(len(group) > 1 for group in members.values())
    own = drop_params(view.request, "artifacts")
    return {
        "graph": graph,
        "grouped": grouped,
        "thick": any(line["way"] for line in lines),
        "artifacts": artifacts,
        "artifacts_url": f"{own}artifacts=1#graph",
        "fold_url": f"{own}#graph" if view.query.artifacts else "",
    }


def find_folded_artifacts(
    view: GraphView, members: Mapping[Key, Sequence[Key]], edges: Collection[tuple[Key, Key]]
) -> set[Key]:
    """The boxes of artifacts that are folded into edges: none of a small graph, and none that the reader named."""
    if view.query.artifacts or len(members) <= MAX_BOXES_WITH_ARTIFACTS:
        return set()
    root = view.subgraph.root
    near = {key for edge in edges if root in edge for key in edge}
    named = {root, *view.query.collapse, *view.query.expand, *view.matches[:MAX_MATCHES]}
    return {key for key, group in members.items() if key[0] == ARTIFACT and not named & {*group} and key not in near}


def find_separate_nodes(view: GraphView, nodes: Collection[Key]) -> set[Key]:
    """The nodes that stand for themselves: the root, what was folded or looked for, the main way unless it is long."""
    way = [key for key in view.way if key in nodes]
    apart = {view.subgraph.root, *view.query.collapse, *view.matches[:MAX_MATCHES]}
    return apart | set(way if len(way) <= grouping.WAY_APART else [])


def find_fold_points(subgraph: Graph, nodes: Collection[Key]) -> set[Key]:
    """Those of `nodes` beyond which some are put away."""
    return {
        node
        for pair in grouping.list_edge_ends(subgraph)
        for node, neighbour in (pair, pair[::-1])
        if node in nodes and neighbour not in nodes
    }


def describe_box(view: GraphView, key: Key, group: list[Key], hidden: Collection[Key], folds: str) -> dict[str, Any]:
    """What a box says, and where its two links lead."""
    kind, label = view.kinds[key[0]], view.labels[key]
    box = {"icon": ICONS.get(key[0], "file"), "kind": kind, "here": key == view.subgraph.root}
    if len(group) > 1:
        label = _("%(n)s × %(kind)s") % {"n": format_number(len(group)), "kind": kind}
        status = describe_states(view.states.get(member, "") for member in group) or _("open them")
        names = ",".join(f"{t}:{i}" for t, i in (*view.query.expand, key))
        opened = f"{drop_params(view.request, 'expand')}expand={quote(names)}#graph"
        return box | {"label": label, "short": label, "url": opened, "said": status, "group": True}
    collapse = view.query.collapse
    folded = key in collapse and key in hidden
    rest = [member for member in collapse if member != key] if folded else [*collapse, key]
    names = ",".join(f"{t}:{i}" for t, i in rest)
    state = view.states.get(key, "")
    status = describe_state(state)[2] if state else kind
    if key in view.matches[:MAX_MATCHES]:
        status = _("found, %(kind)s") % {"kind": kind}
    elif key in view.production:
        status = _("in production")
    return box | {
        "label": label,
        "short": shorten_label(label),
        "url": view.urls[key],
        "state": state,
        "said": status,
        "production": key in view.production,
        "found": key in view.matches[:MAX_MATCHES],
        "first": key in view.matches[:1],
        "folded": folded,
        "fold": "" if key == view.subgraph.root else f"{folds}collapse={quote(names)}#graph",
    }


def get_label(subgraph: Graph, key: Key) -> str:
    node = subgraph.nodes[key]
    return node.label or (node.id[:12] if node.type in ("artifact", "run") else f"#{node.id}")


def shorten_label(label: str, letters: int = MAX_LABEL_LETTERS) -> str:
    """A name without its middle where it is long: how it ends, a version or a form, tells it from its siblings."""
    tail = (letters - 1) // 2
    return label if len(label) <= letters else f"{label[: letters - 1 - tail]}…{label[-tail:]}"


def describe_states(states: Any) -> str:
    """How many of a group are in which state, in words."""
    counts: dict[str, int] = {}
    for state in states:
        if state:
            counts[state] = counts.get(state, 0) + 1
    most = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{format_number(count)} {describe_state(state)[2]}" for state, count in most)


def drop_params(request: Any, *names: str) -> str:
    """The query of the page without these names, and what joins another to it."""
    values = request.GET.copy()
    for name in names:
        values.pop(name, None)
    return f"?{values.urlencode()}&" if values else "?"


# -- the same as a list ---------------------------------------------------------------------------------------------
def order_nodes(view: GraphView) -> list[Key]:
    """Every node, or those looked for, from the sources on."""
    names, matches = {f"{key[0]}:{key[1]}": key for key in view.subgraph.nodes}, set(view.matches)
    pairs = [(f"{a[0]}:{a[1]}", f"{b[0]}:{b[1]}") for a, b in grouping.list_edge_ends(view.subgraph)]
    ordered = [names[name] for name in order_parents_first(sorted(names), sorted(pairs))]
    return [key for key in ordered if key in matches] if matches else ordered


def paginate_list(ordered: list[Key], cursor: str = "") -> Page[Key]:
    """The part of the list that the address asks for by `list`; Malformed for what no page of it gave out."""
    return paginate_in_memory(ordered, key=":".join, order="lineage", cursor=cursor or None, limit=ROWS_PER_PAGE)


def build_csv_url(view_query: GraphQuery, request: Any) -> str:
    """Where the edges of this graph are a file."""
    type, id = view_query.root
    query = urlencode({"type": type, "id": id, "direction": view_query.direction, "depth": view_query.depth})
    return f"{reverse('api-lineage-csv', args=[request.project.slug])}?{query}"


def build_rows(view: GraphView, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """What each node is, what it was made from and by which slot, where to go on."""
    subgraph, listed = view.subgraph, set(keys)
    sources: dict[Key, list[tuple[str, str, str]]] = defaultdict(list)
    for edge in sorted(subgraph.edges.values(), key=lambda edge: edge.pk):
        source, target = (edge.source_type, edge.source_id), (edge.target_type, edge.target_id)
        if target in listed:
            sources[target].append((view.labels[source], view.urls[source], edge.role))
    # The same page with another node in the middle; what was opened and put away belongs to another picture.
    around = drop_params(view.request, *PICTURE_PARAMS)
    return [
        {
            "kind": view.kinds[key[0]],
            "label": view.labels[key],
            "url": view.urls[key],
            "digest": subgraph.nodes[key].digest,
            "state": view.states.get(key, ""),
            "production": key in view.production,
            "here": key == subgraph.root,
            "sources": sources[key][:MAX_SOURCES],
            "more": max(0, len(sources[key]) - MAX_SOURCES),
            "focus": f"{around}focus={quote(':'.join(key))}",
        }
        for key in keys
    ]
