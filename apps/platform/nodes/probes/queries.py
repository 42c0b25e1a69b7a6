"""Reads of probes."""

from __future__ import annotations

from django.db.models import QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.nodes.models import Node
from apps.platform.nodes.probes.models import NodeProbe, Probe, ProbeQuerySet
from apps.platform.nodes.probes.states import ACTIVE_PROBES

MAX_ID = 2**63 - 1


def list_probes(actor: Actor) -> ProbeQuerySet:
    policy.require(actor, "node.view")
    return Probe.objects.visible_to(actor)


def get_probe(actor: Actor, pk: int) -> Probe:
    """The probe `pk`; NotFound."""
    probe = list_probes(actor).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if probe is None:
        raise NotFound("There is no probe {pk}.", pk=pk, field="id")
    return probe


def list_node_probes(probe: Probe) -> QuerySet[NodeProbe]:
    """Its nodes, in the order of their names, with the counts of their reports."""
    return NodeProbe.objects.filter(probe=probe).select_related("node", "report").order_by("node__name")


def get_newest_node_probe(actor: Actor, node: Node) -> NodeProbe | None:
    policy.require(actor, "node.view")
    return NodeProbe.objects.filter(node=node).select_related("probe").order_by("-id").first()


def is_probe_active(pk: int) -> bool:
    """Whether a node of it has not ended."""
    return NodeProbe.objects.filter(probe=pk, state__in=ACTIVE_PROBES).exists()
