"""What pages and REST read of nodes."""

from __future__ import annotations

from apps import policy
from apps.actors import Actor
from apps.errors import NotFound
from apps.nodes.models import Node, NodeQuerySet


def list_nodes(actor: Actor) -> NodeQuerySet:
    """Every node with `online`, `status` and what running jobs have claimed, ready to be filtered and paged."""
    policy.require(actor, "node.view")
    return Node.objects.visible_to(actor).with_status().with_use()


def get_node(actor: Actor, name: str) -> Node:
    """The node called `name` with the same annotations, or NotFound."""
    policy.require(actor, "node.view")
    node = list_nodes(actor).filter(name=name).first()
    if node is None:
        raise NotFound(f"There is no node {name[:120]!r}.", field="name", hint="GET /api/v1/nodes lists them.")
    return node
