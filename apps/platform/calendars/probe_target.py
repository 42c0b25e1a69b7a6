"""Probes of nodes as what a schedule of the plane submits."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.platform.calendars.targets import Body, ScheduleTarget, TargetScope
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.nodes.probes.queries import get_probe, is_probe_active, list_node_probes
from apps.platform.nodes.probes.services import LEVELS, find_nodes, request_probe
from deepseek.messages import N_


def parse_request(body: Body) -> tuple[list[str], int]:
    """The names of the nodes and the level; Invalid."""
    for name in body:
        if name not in ("nodes", "level"):
            raise Invalid(
                "A probe has no field {name!r}.", name=name[:60], code="invalid", field=f"/{name}", limit="nodes, level"
            )
    nodes, level = body.get("nodes", []), body.get("level", 1)
    if not isinstance(nodes, list) or not all(isinstance(name, str) for name in nodes):
        raise Invalid(
            "{found} is no list of names of nodes.",
            found=str(nodes)[:60],
            code="invalid",
            field="/nodes",
            hint=N_("For instance [], which means every node that is online."),
        )
    if isinstance(level, bool) or not isinstance(level, int):
        limit = ", ".join(map(str, LEVELS))
        raise Invalid("{found} is no level.", found=str(level)[:60], code="invalid", field="/level", limit=limit)
    return nodes, level


def validate_probe(actor: Actor, project: None, body: Body) -> None:
    nodes, level = parse_request(body)
    try:
        find_nodes(nodes, level)
    except Invalid as failure:
        raise combine_errors([{**error, "field": f"/{error['field']}"} for error in failure.errors]) from None


def submit_probe(actor: Actor, project: None, body: Body, key: str) -> int:
    nodes, level = parse_request(body)
    return request_probe(actor=actor, nodes=nodes, level=level, key=key).pk


def leave_probe(actor: Actor, pk: int, reason: str) -> None:
    """Cancel nothing: a probe ends by itself within minutes, or within the hour that its nodes have to begin."""


def copy_probe_request(actor: Actor, project: None, pk: int) -> dict[str, Any]:
    probe = get_probe(actor, pk)
    return {"nodes": [row.node.name for row in list_node_probes(probe)], "level": probe.level}


PROBE_TARGET = ScheduleTarget(
    label=_("Probe of nodes"),
    action="node.request_probe",
    validate=validate_probe,
    submit=submit_probe,
    is_active=is_probe_active,
    cancel=leave_probe,
    copy_request=copy_probe_request,
    url_name="nodes:probe",
    scope=TargetScope.PLANE,
    example={"nodes": [], "level": 1},
)
