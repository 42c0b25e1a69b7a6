"""What a reader wants to see of a graph, as the address says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import QueryDict

from apps.core.errors import Invalid
from apps.core.request_values import parse_int, validate_choice
from apps.platform.lineage.ends import check_end
from apps.platform.lineage.queries import DIRECTIONS, MAX_DEPTH
from apps.platform.lineage.traversal import Key
from deepseek.messages import N_

DEPTH = 12
FOLDS = 50  # nodes that an address may open or put away
NAMES = ("focus", "depth", "direction", "expand", "collapse", "find", "artifacts")
FIND_LIMIT = 100  # characters that are looked for


@dataclass(frozen=True, slots=True)
class GraphQuery:
    root: Key
    depth: int = DEPTH
    direction: str = "both"
    expand: tuple[Key, ...] = ()
    collapse: tuple[Key, ...] = ()
    find: str = ""
    artifacts: bool = False  # whether each has a box of its own, also in a large graph


def parse_graph_query(query: QueryDict, root: Key) -> GraphQuery:
    """The part of the graph that a query asks for, around `root` unless it names a focus; Invalid for nonsense."""
    focus = parse_node_keys([query.get("focus", "")], "focus")
    direction = query.get("direction", "") or "both"
    validate_choice("direction", direction, DIRECTIONS, N_("{found!r} is not a direction."), required=True)
    return GraphQuery(
        root=focus[0] if focus else root,
        depth=parse_depth(query.get("depth", "")),
        direction=direction,
        expand=parse_node_keys(query.getlist("expand"), "expand"),
        collapse=parse_node_keys(query.getlist("collapse"), "collapse"),
        find=query.get("find", "")[:FIND_LIMIT].strip(),
        artifacts=query.get("artifacts") == "1",
    )


def parse_depth(text: str) -> int:
    if not text:
        return DEPTH
    if (depth := parse_int(text, 1, MAX_DEPTH)) is not None:
        return depth
    raise Invalid("{text!r} is no depth.", text=text[:20], field="depth", limit=f"1 to {MAX_DEPTH}")


def parse_node_keys(values: Sequence[str], field: str) -> tuple[Key, ...]:
    """Nodes as an address names them: type:id, with commas between them."""
    words = [word for text in values for word in text.split(",") if word]
    if len(words) > FOLDS:
        raise Invalid("{count} nodes are named.", count=len(words), field=field, limit=FOLDS, hint=N_("Name fewer."))
    keys = []
    for word in words:
        type, _, id = word.partition(":")
        try:
            check_end(type, id)
        except Invalid as error:
            raise Invalid(error.message, field=field, limit="type:id, for instance job:7") from error
        keys.append((type, id))
    return tuple(keys)
