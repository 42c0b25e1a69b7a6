"""What would be affected by something: every object made of it, however far, and what of that is in production.

Reads only: one walk over the edges, their rows, and what the registry knows of the models among them; five queries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max, Q
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core import policy
from apps.core.actors import Actor
from apps.ml.registry.models import Alias, AliasMove, ModelVersion
from apps.ml.registry.states import PRODUCTION
from apps.platform.accounts.models import Project
from apps.platform.lineage.ends import check_end
from apps.platform.lineage.queries import MAX_DEPTH, GraphNode, fetch_edges
from apps.platform.lineage.steps import get_node_url, get_type_label
from apps.platform.lineage.traversal import Key, walk_edges

MAX_EDGES = 50_000  # that one answer walks; there may be more
MAX_NEAREST_EDGES = 2_000  # that a page walks before anybody asks for all: a hub must not make it slow
ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class Affected:
    """One object: `hops` edges from the root, since the edge by which it was first reached was recorded."""

    type: str
    id: str
    label: str
    digest: str
    hops: int
    since: datetime
    in_production: bool = False

    @property
    def kind(self) -> str:
        return _("Alias") if self.type == ALIAS else get_type_label(self.type)

    @property
    def key(self) -> str:
        return f"{self.type}:{self.id}"


@dataclass(frozen=True, slots=True)
class Impact:
    objects: list[Affected]
    truncated: bool = False  # more edges than are walked
    root_in_production: bool = False

    @property
    def in_production(self) -> int:
        """Models in production that depend on the root; an alias one step away is the root's own."""
        return sum(item.in_production and item.hops > 1 for item in self.objects if item.type == ALIAS)


def find_affected(actor: Actor, project: Project, type: str, id: str, *, max_edges: int = MAX_EDGES) -> Impact:
    """Everything downstream of an end over `most` edges, the nearest first; Invalid for what cannot be one."""
    policy.require(actor, "lineage.view", project)
    check_end(type, id)
    root = type, id
    ways = walk_edges(project, root, "down", MAX_DEPTH, max_edges, max_edges)
    nearest: dict[Key, tuple[int, int]] = {}
    for way in ways[:max_edges]:  # the walk reads one more, to know whether there is more
        if (way.far_type, way.far_id) != root:
            nearest.setdefault((way.far_type, way.far_id), (way.edge, way.level))
    edges = fetch_edges(actor, [edge for edge, _level in nearest.values()])
    live = find_keys_in_production(project, [root, *nearest])
    objects = [
        Affected(*key, edges[edge].target_label, edges[edge].target_digest, level, edges[edge].created_at, key in live)
        for key, (edge, level) in nearest.items()
        if edge in edges
    ]
    versions = {int(item.id): item for item in objects if item.type == "model_version"} | get_root_version(
        project, root
    )
    objects += list_affected_aliases(project, versions)
    return Impact(objects, truncated=len(ways) > max_edges, root_in_production=root in live)


def get_root_version(project: Project, root: Key) -> dict[int, Affected]:
    """The root, zero steps away, where it is a model version: its aliases are affected."""
    type, id = root
    if type != "model_version" or not id.isdecimal():
        return {}
    rows = ModelVersion.objects.filter(model__project=project, pk=int(id)).values_list("digest", "created_at")
    return {int(id): Affected(type, id, "", digest, 0, created_at) for digest, created_at in rows}


def find_keys_in_production(project: Project, keys: Iterable[Key]) -> set[Key]:
    """Those of the model versions and variants that are in production: the version, and its forms. One query."""
    variants = [int(id) for type, id in keys if type == "variant" and id.isdecimal()]
    versions = [int(id) for type, id in keys if type == "model_version" and id.isdecimal()]
    if not variants and not versions:
        return set()
    live = ModelVersion.objects.filter(model__project=project, aliases__name=PRODUCTION)
    live = live.filter(Q(pk__in=versions) | Q(variants__in=variants))
    rows = live.values_list("pk", "variants__pk")
    return {key for version, form in rows for key in (("model_version", str(version)), ("variant", str(form)))}


def list_affected_aliases(project: Project, versions: dict[int, Affected]) -> list[Affected]:
    """The names that point to these versions, since they last moved. Two queries."""
    if not versions:
        return []
    rows = Alias.objects.filter(model__project=project, version__in=list(versions)).select_related("model")
    aliases = list(rows.order_by("model__name", "name"))
    moves = AliasMove.objects.filter(model__in={alias.model_id for alias in aliases}).order_by()
    moved = {(model, name): at for model, name, at in moves.values_list("model", "alias").annotate(Max("at"))}
    return [
        Affected(
            ALIAS,
            str(alias.pk),
            f"{alias.model.name} {alias.name}",
            versions[alias.version_id].digest,
            versions[alias.version_id].hops + 1,
            moved.get((alias.model_id, alias.name), versions[alias.version_id].since),
            alias.name == PRODUCTION,
        )
        for alias in aliases
    ]


def get_page_address(item: Affected, slug: str) -> str:
    """Its page; an alias has that of its model, whose name stands before its own."""
    if item.type == ALIAS:
        return reverse("registry:model", args=[slug, item.label.rpartition(" ")[0]])
    return get_node_url(GraphNode(item.type, item.id, item.digest, item.label, item.hops), slug)
