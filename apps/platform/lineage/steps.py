"""The graph around one object as a page draws it: a strip from source to use, and the same as a table."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from apps.platform.lineage.queries import MAX_DEPTH, Graph, GraphNode
from apps.platform.lineage.traversal import Key

ADDRESSES = {
    "job": "jobs:detail",
    "dataset_version": "datasets:by_id",
    "artifact": "lineage:end",
    "run": "experiments:detail",
    "logged_model": "experiments:logged_model",
    "variant": "registry:variant_by_id",
    "model_version": "registry:version_by_id",
    "release": "lineage:end",
    "foreign_job": "lineage:end",
    "foreign_dataset": "lineage:end",
    "label_schema": "labelling:schema_by_id",
    "annotator": "lineage:end",
}
PAGELESS = frozenset({"source"})  # what lies outside the plane
STRIP = 3  # boxes of one step; more are counted


NAMES = {
    "source": gettext_lazy("Source"),
    "job": gettext_lazy("Job"),
    "dataset_version": gettext_lazy("Dataset version"),
    "artifact": gettext_lazy("Artifact"),
    "run": gettext_lazy("Run"),
    "logged_model": gettext_lazy("Logged model"),
    "variant": gettext_lazy("Variant"),
    "model_version": gettext_lazy("Model version"),
    "release": gettext_lazy("Release"),
    "foreign_job": gettext_lazy("External job"),
    "foreign_dataset": gettext_lazy("External dataset"),
    "label_schema": gettext_lazy("Labelling schema"),
    "annotator": gettext_lazy("Annotator"),
}


def get_type_label(type: str) -> str:
    """What a type of end is called."""
    return str(NAMES.get(type, type))


def get_node_url(node: GraphNode, slug: str) -> str:
    """Where the node has its page; "" where it has none. By name: the apps above are not imported here."""
    name = ADDRESSES.get(node.type)
    args = [slug, node.type, node.id] if name == "lineage:end" else [slug, node.id]
    try:
        return reverse(name, args=args) if name else ""
    except NoReverseMatch:
        return ""


def build_strip(graph: Graph, slug: str) -> list[dict[str, Any]]:
    """Steps from the farthest source over this to what took it; what came of those is left to the graph.

    Of a crowded step its first boxes and a count, which leads to the graph.
    """
    by_depth: dict[int, list[GraphNode]] = defaultdict(list)
    for key, place in map_step_positions(graph).items():
        by_depth[place].append(graph.nodes[key])
    steps: list[dict[str, Any]] = []
    for depth in sorted(by_depth):
        nodes = sorted(by_depth[depth], key=get_recency_key)
        steps += [build_node_box(node, slug, is_root=(node.type, node.id) == graph.root) for node in nodes[:STRIP]]
        if len(nodes) > STRIP:
            steps.append(build_overflow_box(nodes[STRIP:], graph, slug))
    return steps


def build_overflow_box(nodes: list[GraphNode], graph: Graph, slug: str) -> dict[str, Any]:
    """The box for those of a step that are not shown; a graph that was cut may lack some of them."""
    types = {node.type for node in nodes}
    if graph.truncated:
        text = ngettext("at least %(n)d more", "at least %(n)d more", len(nodes))
    else:
        text = ngettext("%(n)d more", "%(n)d more", len(nodes))
    return {
        "kind": get_type_label(types.pop()) if len(types) == 1 else _("Other"),
        "label": text % {"n": len(nodes)},
        "url": reverse("lineage:end", args=[slug, *graph.root]) + "#graph",
    }


def get_recency_key(node: GraphNode) -> tuple[str, int, str]:
    """Of the ends of one type the newest: of hundreds of jobs that took a version, those that somebody looks for."""
    return (node.type, -int(node.id) if node.id.isdecimal() else 0, node.id)


def map_step_positions(graph: Graph) -> dict[Key, int]:
    """Where in the strip each node stands that has a place there: what the root was made from, and what took it.

    A source stands as far before the root as the longest way there, not the shortest: so what a node was made from
    stands before it, even where a shorter way leads past it. Cycles end with the rounds.
    """
    places = {key: node.depth for key, node in graph.nodes.items() if node.depth <= 1}
    for _round in range(MAX_DEPTH):
        before = dict(places)
        for edge in graph.edges.values():
            source, target = (edge.source_type, edge.source_id), (edge.target_type, edge.target_id)
            if places.get(source, 0) < 0 and target in places:
                places[source] = min(places[source], places[target] - 1)
        if places == before:
            break
    return places


def build_node_box(node: GraphNode, slug: str, *, is_root: bool) -> dict[str, Any]:
    label = node.label or (node.id[:12] if node.type == "artifact" else f"#{node.id}")
    return {
        "kind": _("This") if is_root else get_type_label(node.type),
        "label": label,
        "url": get_node_url(node, slug),
        "text": node.digest[:8],
        "here": is_root,
        "digest": node.digest,
        "depth": node.depth,
    }


def build_edge_table(graph: Graph, slug: str) -> list[dict[str, Any]]:
    """The edges as rows: what went into what, and by which slot."""
    boxes = {key: build_node_box(node, slug, is_root=key == graph.root) for key, node in graph.nodes.items()}
    return [
        {
            "source": boxes[edge.source_type, edge.source_id],
            "target": boxes[edge.target_type, edge.target_id],
            "role": edge.role,
            "at": edge.created_at,
        }
        for edge in sorted(graph.edges.values(), key=lambda edge: edge.pk)
    ]
