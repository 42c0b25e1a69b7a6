"""Queries on nodes for pages and REST."""

from __future__ import annotations

from django.db.models import Q

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.platform.nodes.models import Node, NodeQuerySet
from deepseek.messages import N_

STATUSES = ("online", "held", "offline")


def list_nodes(actor: Actor, *, query: str = "", status: str = "") -> NodeQuerySet:
    """Nodes with `online`, `status` and what running jobs have claimed, ready to be paged by name.

    `query`: a part of the name or the host; `status`: one of STATUSES, else Invalid; empty ones do not narrow.
    """
    policy.require(actor, "node.view")
    nodes = Node.objects.visible_to(actor).with_status().with_use()
    if query:
        nodes = nodes.filter(Q(name__icontains=query) | Q(host__icontains=query))
    check_status(status)
    return nodes.filter(status=status) if status else nodes  # type: ignore[misc]  # annotated


def check_status(status: str) -> None:
    """Raise Invalid for a status that there is not; an empty one asks for every node."""
    if status and status not in STATUSES:
        raise Invalid(
            "{answer!r} is not a status of nodes.", answer=status[:20], field="status", limit=", ".join(STATUSES)
        )


def get_node(actor: Actor, name: str) -> Node:
    """The node called `name` with the same annotations, or NotFound."""
    policy.require(actor, "node.view")
    node = list_nodes(actor).filter(name=name).first()
    if node is None:
        raise NotFound(
            "There is no node {name!r}.", name=name[:120], field="name", hint=N_("GET /api/v1/nodes lists them.")
        )
    return node
