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
from apps.platform.lineage.layout import drawn, parents_first
from apps.platform.lineage.queries import DIRECTIONS, EDGES_PER_NODE, MAX_DEPTH, MAX_NODES, Graph, graph
from apps.platform.lineage.query import NAMES, Asked, asked_of
from apps.platform.lineage.steps import address_of, words
from apps.platform.lineage.traversal import Key
from apps.web.templatetags.base_tags import state_of
from apps.web.templatetags.formats import number
from apps.web.templatetags.object_links import actor_in

register = template.Library()

ICONS = {
    "source": "external",
    "dataset_version": "data",
    "job": "jobs",
    "run": "runs",
    "artifact": "file",
    "variant": "cols",
    "model_version": "models",
    "foreign_job": "jobs",
    "foreign_dataset": "data",
}
MATCHES = 20  # nodes that are looked for and so stand for themselves
LETTERS = 17  # of a name that is drawn; the whole one is its title
FROM_SHOWN = 4  # sources that a row of the list names
OF_PICTURE = (*(name for name in NAMES if name not in ("depth", "direction")), "list")  # what another focus drops
LISTED = 50  # rows of the list on one page
DEPTHS = (1, 2, 3, 6, 12, 25, MAX_DEPTH)


@register.inclusion_tag("lineage/drawn.html", takes_context=True)
def lineage(context: Context, type: str, id: object) -> dict[str, Any]:
    """The graph around one object; three queries."""
    request = context["request"]
    shared = {"request": request, "type": type, "id": str(id), "root": f"{type}:{id}"}
    try:
        asked, wrong = asked_of(request.GET, (type, str(id))), None
    except Invalid as error:
        asked, wrong = Asked((type, str(id))), error
    found = graph(actor_in(context), request.project, *asked.root, direction=asked.direction, depth=asked.depth)
    shared |= {"wrong": wrong, "asked": asked, "controls": controls(asked), "keep": kept_of(request.GET)}
    if not found.edges:
        return shared
    shown = shown_of(found, asked, request)
    told = {"truncated": found.truncated, "nodes": len(found.nodes), "edges": len(found.edges)}
    told |= found_in(shown)
    listed = order_of(shown)
    try:
        page = page_of_list(listed, request.GET.get("list", ""))
    except Malformed as error:
        error.field = "list"  # what this cursor is called in the address
        page, shared["wrong"] = page_of_list(listed), error
    told |= {"listed": len(listed), "page": page, "rows": rows_of(shown, page.items), "csv": file_of(asked, request)}
    return shared | picture(shown) | told | {"in_production": bool(shown.production)}


def found_in(shown: Shown) -> dict[str, Any]:
    """The nodes that were looked for, each with the address that draws the graph around it."""
    around = without(shown.request, *OF_PICTURE)
    told = [
        {
            "label": shown.labels[key],
            "focus": f"{around}focus={quote(':'.join(key))}#graph",
        }
        for key in shown.matches[:MATCHES]
    ]
    return {"matches": told, "matched": len(shown.matches), "unmatched": bool(shown.asked.find) and not told}


def kept_of(query: Any) -> list[tuple[str, str]]:
    own = ("depth", "direction", "find", "list")
    return [(name, value) for name in query if name not in own for value in query.getlist(name)]


def controls(asked: Asked) -> dict[str, Any]:
    named = {
        "both": _("both ways"),
        "up": _("what it was made from"),
        "down": _("what was made of it"),
    }
    depths = sorted({*DEPTHS, asked.depth})
    return {
        "directions": [(value, named[value]) for value in ("both", *(d for d in DIRECTIONS if d != "both"))],
        "depths": [(n, ngettext("%(n)d step", "%(n)d steps", n) % {"n": n}) for n in depths],
    }


def marks_of(project: Project, found: Graph) -> tuple[dict[Key, str], set[Key]]:
    """({job or run: its state}, the model versions that are in production); one query."""
    ids = {type: [key[1] for key in found.nodes if key[0] == type] for type in ("job", "run", "model_version")}
    text = CharField()
    jobs = Job.objects.filter(project=project, pk__in=[int(pk) for pk in ids["job"] if pk.isdecimal()]).order_by()
    runs = Run.objects.filter(project=project, pk__in=ids["run"]).order_by()
    versions = [int(pk) for pk in ids["model_version"] if pk.isdecimal()]
    aliases = Alias.objects.filter(model__project=project, version__in=versions, name=PRODUCTION).order_by()
    told = jobs.values_list(Value("job", text), Cast("pk", text), "state").union(
        runs.values_list(Value("run", text), Cast("pk", text), "state"),
        aliases.values_list(Value("model_version", text), Cast("version_id", text), Value(PRODUCTION, text)),
        all=True,
    )
    states: dict[Key, str] = {}
    production: set[Key] = set()
    for type, pk, state in told:
        if type == "model_version":
            production.add((type, pk))
        else:
            states[type, pk] = state
    return states, production


# -- the drawing ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Shown:
    """A graph and what is known of its nodes: asked for once, and used by the drawing and by the list."""

    found: Graph
    asked: Asked
    states: Mapping[Key, str]
    production: Collection[Key]
    way: Collection[Key]
    request: Any
    labels: Mapping[Key, str]
    urls: Mapping[Key, str]
    kinds: Mapping[str, str]
    matches: Sequence[Key] = ()  # of what is looked for, the nearest first


class Addresses(dict[Key, str]):
    """Where each node has its page, made out when it is asked for: of a thousand nodes a page shows some."""

    def __init__(self, found: Graph, slug: str) -> None:
        self.found, self.slug = found, slug

    def __missing__(self, key: Key) -> str:
        self[key] = address_of(self.found.nodes[key], self.slug)
        return self[key]


def shown_of(found: Graph, asked: Asked, request: Any) -> Shown:
    states, production = marks_of(request.project, found)
    labels = {key: label_of(found, key) for key in found.nodes}
    return Shown(
        found=found,
        asked=asked,
        states=states,
        production=production,
        way=grouping.main_way(found, production),
        request=request,
        labels=labels,
        urls=Addresses(found, request.project.slug),
        kinds={type: words(type) for type in {key[0] for key in found.nodes}},
        matches=matches_in(found, labels, asked.find),
    )


def matches_in(found: Graph, labels: Mapping[Key, str], find: str) -> list[Key]:
    """The nodes whose name, id or digest holds the text, in any case: those named just so first, then the nearest."""
    text = find.casefold()
    if not text:
        return []
    told = {key: (labels[key].casefold(), key[1].casefold(), found.nodes[key].digest) for key in found.nodes}
    matches = [key for key, names in told.items() if any(text in name for name in names)]
    return sorted(matches, key=lambda key: (text not in told[key], abs(found.nodes[key].depth), grouping.by_name(key)))


def picture(shown: Shown) -> dict[str, Any]:
    """Boxes and edges in pixels, with siblings that are alike as one box."""
    found, way = shown.found, shown.way
    nodes = grouping.kept(found, shown.asked.collapse)
    stands = grouping.drawn_as(found, nodes, apart_in(shown, nodes), shown.asked.expand)
    members: dict[Key, list[Key]] = defaultdict(list)
    for key in nodes:
        members[stands[key]].append(key)
    edges = {(stands[a], stands[b]) for a, b in grouping.ends_of(found) if a in stands and b in stands}
    names = {key: f"{key[0]}:{key[1]}" for key in members}
    order = sorted(members, key=lambda key: (found.nodes[key].depth, key))
    parents = parents_first([names[key] for key in order], sorted((names[a], names[b]) for a, b in edges))
    drawing = drawn(parents, most=MAX_NODES * EDGES_PER_NODE)
    if drawing is None:
        return {}
    keys = {name: key for key, name in names.items()}
    lines = [{"path": path, "way": keys[a] in way and keys[b] in way} for a, b, path in drawing.edges]
    hidden, folds = hidden_beyond(found, nodes), without(shown.request, "collapse")
    boxes = [
        told_of(shown, keys[box.name], members[keys[box.name]], hidden, folds) | {"box": box} for box in drawing.boxes
    ]
    lines.sort(key=lambda line: bool(line["way"]))  # the thick ones on top
    graph = {"width": drawing.width, "height": drawing.height, "boxes": boxes, "edges": lines}
    grouped = sum(len(group) > 1 for group in members.values())
    return {"graph": graph, "grouped": grouped, "thick": any(line["way"] for line in lines)}


def apart_in(shown: Shown, nodes: Collection[Key]) -> set[Key]:
    """The nodes that stand for themselves: the root, what was folded or looked for, the main way unless it is long."""
    way = [key for key in shown.way if key in nodes]
    apart = {shown.found.root, *shown.asked.collapse, *shown.matches[:MATCHES]}
    return apart | set(way if len(way) <= grouping.WAY_APART else [])


def hidden_beyond(found: Graph, nodes: Collection[Key]) -> set[Key]:
    """Those of `nodes` beyond which some are put away."""
    return {
        one
        for pair in grouping.ends_of(found)
        for one, other in (pair, pair[::-1])
        if one in nodes and other not in nodes
    }


def told_of(shown: Shown, key: Key, group: list[Key], hidden: Collection[Key], folds: str) -> dict[str, Any]:
    """What a box says, and where its two links lead."""
    kind, label = shown.kinds[key[0]], shown.labels[key]
    told = {"icon": ICONS.get(key[0], "file"), "kind": kind, "here": key == shown.found.root}
    if len(group) > 1:
        label = _("%(n)s × %(kind)s") % {"n": number(len(group)), "kind": kind}
        said = counted(shown.states.get(one, "") for one in group) or _("open them")
        names = ",".join(f"{t}:{i}" for t, i in (*shown.asked.expand, key))
        opened = f"{without(shown.request, 'expand')}expand={quote(names)}#graph"
        return told | {"label": label, "short": label, "url": opened, "said": said, "group": True}
    collapse = shown.asked.collapse
    folded = key in collapse and key in hidden
    rest = [one for one in collapse if one != key] if folded else [*collapse, key]
    names = ",".join(f"{t}:{i}" for t, i in rest)
    state = shown.states.get(key, "")
    said = state_of(state)[2] if state else kind
    if key in shown.matches[:MATCHES]:
        said = _("found, %(kind)s") % {"kind": kind}
    elif key in shown.production:
        said = _("in production")
    return told | {
        "label": label,
        "short": shortened(label),
        "url": shown.urls[key],
        "state": state,
        "said": said,
        "production": key in shown.production,
        "found": key in shown.matches[:MATCHES],
        "first": key in shown.matches[:1],
        "folded": folded,
        "fold": "" if key == shown.found.root else f"{folds}collapse={quote(names)}#graph",
    }


def label_of(found: Graph, key: Key) -> str:
    node = found.nodes[key]
    return node.label or (node.id[:12] if node.type in ("artifact", "run") else f"#{node.id}")


def shortened(label: str, letters: int = LETTERS) -> str:
    """A name without its middle where it is long: how it ends, a version or a form, tells it from its siblings."""
    behind = (letters - 1) // 2
    return label if len(label) <= letters else f"{label[: letters - 1 - behind]}…{label[-behind:]}"


def counted(states: Any) -> str:
    """How many of a group are in which state, in words."""
    counts: dict[str, int] = {}
    for state in states:
        if state:
            counts[state] = counts.get(state, 0) + 1
    most = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{number(count)} {state_of(state)[2]}" for state, count in most)


def without(request: Any, *names: str) -> str:
    """The query of the page without these names, and what joins another to it."""
    values = request.GET.copy()
    for name in names:
        values.pop(name, None)
    return f"?{values.urlencode()}&" if values else "?"


# -- the same as a list ---------------------------------------------------------------------------------------------
def order_of(shown: Shown) -> list[Key]:
    """Every node, or those looked for, from the sources on."""
    names, wanted = {f"{key[0]}:{key[1]}": key for key in shown.found.nodes}, set(shown.matches)
    pairs = [(f"{a[0]}:{a[1]}", f"{b[0]}:{b[1]}") for a, b in grouping.ends_of(shown.found)]
    ordered = [names[name] for name in parents_first(sorted(names), sorted(pairs))]
    return [key for key in ordered if key in wanted] if wanted else ordered


def page_of_list(ordered: list[Key], cursor: str = "") -> Page[Key]:
    """The part of the list that the address asks for by `list`; Malformed for what no page of it gave out."""
    return paginate_in_memory(ordered, key=":".join, order="lineage", cursor=cursor or None, limit=LISTED)


def file_of(asked: Asked, request: Any) -> str:
    """Where the edges of this graph are a file."""
    type, id = asked.root
    query = urlencode({"type": type, "id": id, "direction": asked.direction, "depth": asked.depth})
    return f"{reverse('api-lineage-csv', args=[request.project.slug])}?{query}"


def rows_of(shown: Shown, keys: Sequence[Key]) -> list[dict[str, Any]]:
    """What each node is, what it was made from and by which slot, where to go on."""
    found, listed = shown.found, set(keys)
    sources: dict[Key, list[tuple[str, str, str]]] = defaultdict(list)
    for edge in sorted(found.edges.values(), key=lambda edge: edge.pk):
        source, target = (edge.source_type, edge.source_id), (edge.target_type, edge.target_id)
        if target in listed:
            sources[target].append((shown.labels[source], shown.urls[source], edge.role))
    # The same page with another node in the middle; what was opened and put away belongs to another picture.
    around = without(shown.request, *OF_PICTURE)
    return [
        {
            "kind": shown.kinds[key[0]],
            "label": shown.labels[key],
            "url": shown.urls[key],
            "digest": found.nodes[key].digest,
            "state": shown.states.get(key, ""),
            "production": key in shown.production,
            "here": key == found.root,
            "sources": sources[key][:FROM_SHOWN],
            "more": max(0, len(sources[key]) - FROM_SHOWN),
            "focus": f"{around}focus={quote(':'.join(key))}",
        }
        for key in keys
    ]
