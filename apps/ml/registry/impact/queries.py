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
from apps.platform.lineage.queries import MAX_DEPTH, GraphNode, edges_at
from apps.platform.lineage.steps import address_of, words
from apps.platform.lineage.traversal import Key, walked

MOST_EDGES = 50_000  # that one answer walks; there may be more
NEAREST_EDGES = 2_000  # that a page walks before anybody asks for all: a hub must not make it slow
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
        return _("Alias") if self.type == ALIAS else words(self.type)

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
        return sum(one.in_production and one.hops > 1 for one in self.objects if one.type == ALIAS)


def affected_by(actor: Actor, project: Project, type: str, id: str, *, most: int = MOST_EDGES) -> Impact:
    """Everything downstream of an end over `most` edges, the nearest first; Invalid for what cannot be one."""
    policy.require(actor, "lineage.view", project)
    check_end(type, id)
    root = type, id
    ways = walked(project, root, "down", MAX_DEPTH, most, most)
    nearest: dict[Key, tuple[int, int]] = {}
    for way in ways[:most]:  # the walk reads one more, to know whether there is more
        if (way.far_type, way.far_id) != root:
            nearest.setdefault((way.far_type, way.far_id), (way.edge, way.level))
    edges = edges_at(actor, [edge for edge, _level in nearest.values()])
    live = in_production(project, [root, *nearest])
    found = [
        Affected(*key, edges[edge].target_label, edges[edge].target_digest, level, edges[edge].created_at, key in live)
        for key, (edge, level) in nearest.items()
        if edge in edges
    ]
    versions = {int(one.id): one for one in found if one.type == "model_version"} | version_at_root(project, root)
    found += aliases_of(project, versions)
    return Impact(found, truncated=len(ways) > most, root_in_production=root in live)


def version_at_root(project: Project, root: Key) -> dict[int, Affected]:
    """The root, zero steps away, where it is a model version: its aliases are affected."""
    type, id = root
    if type != "model_version" or not id.isdecimal():
        return {}
    rows = ModelVersion.objects.filter(model__project=project, pk=int(id)).values_list("digest", "created_at")
    return {int(id): Affected(type, id, "", digest, 0, created_at) for digest, created_at in rows}


def in_production(project: Project, keys: Iterable[Key]) -> set[Key]:
    """Those of the model versions and variants that are in production: the version, and its forms. One query."""
    variants = [int(id) for type, id in keys if type == "variant" and id.isdecimal()]
    versions = [int(id) for type, id in keys if type == "model_version" and id.isdecimal()]
    if not variants and not versions:
        return set()
    live = ModelVersion.objects.filter(model__project=project, aliases__name=PRODUCTION)
    live = live.filter(Q(pk__in=versions) | Q(variants__in=variants))
    rows = live.values_list("pk", "variants__pk")
    return {key for version, form in rows for key in (("model_version", str(version)), ("variant", str(form)))}


def aliases_of(project: Project, versions: dict[int, Affected]) -> list[Affected]:
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


def place_of(one: Affected, slug: str) -> str:
    """Its page; an alias has that of its model, whose name stands before its own."""
    if one.type == ALIAS:
        return reverse("registry:model", args=[slug, one.label.rpartition(" ")[0]])
    return address_of(GraphNode(one.type, one.id, one.digest, one.label, one.hops), slug)
