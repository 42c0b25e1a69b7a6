"""Queries on nodes for pages and REST."""

from __future__ import annotations

from django.db.models import Q

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
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
    validate_status(status)
    return nodes.filter(status=status) if status else nodes  # type: ignore[misc]  # annotated


def validate_status(status: str) -> None:
    """Raise Invalid for a status that there is not; an empty one asks for every node."""
    validate_choice("status", status, STATUSES, N_("{found!r} is not a status of nodes."))


def get_node(actor: Actor, name: str) -> Node:
    """The node called `name` with the same annotations, or NotFound."""
    policy.require(actor, "node.view")
    node = list_nodes(actor).filter(name=name).first()
    if node is None:
        raise NotFound(
            "There is no node {name!r}.", name=name[:120], field="name", hint=N_("GET /api/v1/nodes lists them.")
        )
    return node
