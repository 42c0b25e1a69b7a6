"""Which servers an endpoint has: a replica for each node and slot, each with a port of its node's range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apps.core.errors import Conflict, Invalid
from apps.ml.endpoints.models import Endpoint, Replica
from apps.platform.nodes.extras import SERVING
from apps.platform.nodes.models import Node
from deepseek.messages import N_


def find_nodes(names: Sequence[str]) -> list[Node]:
    """The nodes of these names, once each. Raises Invalid for one that is not there or offers no serving."""
    nodes = {node.name: node for node in Node.objects.filter(name__in=names)}
    for place, name in enumerate(names):
        node = nodes.get(name)
        if node is None:
            raise Invalid("There is no node {name!r}.", name=name[:60], field="nodes", hint=N_("List the nodes."))
        if SERVING not in node.extras or not node.hardware.get("serving"):
            raise Invalid(
                "The node {name} offers no serving.",
                name=name,
                code="node_without_serving",
                field=f"nodes/{place}" if len(names) > 1 else "nodes",
                limit="a node with fastapi, uvicorn and ENDPOINT_PORTS",
                hint=N_("Install fastapi and uvicorn there and set ENDPOINT_PORTS, or choose another node."),
            )
    return list(nodes.values())


def place_replicas(endpoint: Endpoint, nodes: Sequence[Node]) -> None:
    """Let the endpoint have its replicas on each of `nodes` and nowhere else. Within a transaction.

    A replica that is no longer wanted keeps its port until its node has ended the server. Raises Conflict
    `no_free_port`.
    """
    slots = {(node.pk, slot) for node in nodes for slot in range(endpoint.replicas_per_node)}
    rows = {(row.node_id, row.slot): row for row in endpoint.replicas.all()}
    surplus = [row.pk for key, row in rows.items() if key not in slots]
    endpoint.replicas.filter(pk__in=surplus, last_seen=None).delete()  # no node has begun with these
    endpoint.replicas.filter(pk__in=surplus).update(is_removed=True)
    endpoint.replicas.filter(pk__in=[row.pk for key, row in rows.items() if key in slots]).update(is_removed=False)
    for node in nodes:
        free = iter_free_ports(node)
        for slot in range(endpoint.replicas_per_node):
            if (node.pk, slot) not in rows:
                Replica.objects.create(endpoint=endpoint, node=node, slot=slot, port=next_port(node, free))


def iter_free_ports(node: Node) -> Iterator[int]:
    first, last = node.hardware["serving"]["ports"]
    used_ports = set(Replica.objects.filter(node=node).values_list("port", flat=True))
    return (port for port in range(first, last + 1) if port not in used_ports)


def next_port(node: Node, free: Iterator[int]) -> int:
    port = next(free, None)
    if port is None:
        first, last = node.hardware["serving"]["ports"]
        raise Conflict(
            "The node {name} has no free port.",
            name=node.name,
            code="no_free_port",
            field="nodes",
            limit=f"{first} to {last}",
            hint=N_("Delete an endpoint there, or widen ENDPOINT_PORTS of the node."),
        )
    return port
