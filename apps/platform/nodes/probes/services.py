"""Writes of probes: somebody requests them, workers run them, the dispatcher ends those that nobody ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, StaleState
from apps.platform.audit import services as audit
from apps.platform.nodes.health.services import store_health_report
from apps.platform.nodes.models import Node
from apps.platform.nodes.probes.models import NodeProbe, Probe
from apps.platform.nodes.probes.states import ACTIVE_PROBES, ProbeState
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import N_, Message

LEVELS = (1, 2)  # the third loads the memory of GPUs for hours: by hand, on the node
MAX_NODES = 500  # that a request names
START_WITHIN = timedelta(hours=1)
RUN_WITHIN = timedelta(minutes=15)
RETENTION = timedelta(days=90)
CHECK_FIELDS = ("id", "group", "verdict", "why", "remedy", "level", "required")  # those that a node would send


def request_probe(*, actor: Actor, nodes: Sequence[str] = (), level: int = 1, key: str = "") -> Probe:
    """Ask for the doctor of the nodes of these names, or of every node that is online.

    The same `key` once more answers the probe that is there. Raises Invalid for a name or a level that there is not,
    Conflict where no node is online.
    """
    policy.require(actor, "node.request_probe")
    if key and (existing := Probe.objects.filter(key=key).first()):
        return existing
    targets = find_nodes(nodes, level)
    if not targets:
        raise Conflict(
            "No node is online.", code="no_node", field="nodes", hint=N_("Start a worker, or name the nodes.")
        )
    try:
        with transaction.atomic():
            probe = Probe.objects.create(level=level, key=key, requested_by=actor.label[:200])
            NodeProbe.objects.bulk_create(NodeProbe(probe=probe, node=node) for node in targets)
            names = [node.name for node in targets]
            audit.record(actor=actor, action="node.request_probe", obj=probe, after={"nodes": names, "level": level})
    except IntegrityError:
        if not key:
            raise
        return Probe.objects.get(key=key)
    return probe


def find_nodes(names: Sequence[str], level: int) -> list[Node]:
    """The nodes of these names, or all that are online; Invalid."""
    if level not in LEVELS:
        limit = ", ".join(map(str, LEVELS))
        raise Invalid("There is no probe of level {level!r}.", level=level, code="invalid", field="level", limit=limit)
    if not names:
        return list(Node.objects.with_status().filter(online=True).order_by("name"))
    if len(names) > MAX_NODES:
        raise Invalid(
            "A probe is of at most {maximum} nodes; these are {count}.",
            maximum=MAX_NODES,
            count=len(names),
            code="invalid",
            field="nodes",
            limit=MAX_NODES,
            hint=N_("Name none: that means every node that is online."),
        )
    rows = {node.name: node for node in Node.objects.filter(name__in=names)}
    for number, name in enumerate(names):
        if name not in rows:
            raise Invalid(
                "There is no node {name!r}.",
                name=name[:120],
                code="invalid",
                field=f"nodes/{number}",
                hint=N_("GET /api/v1/nodes lists them."),
            )
    return [rows[name] for name in dict.fromkeys(names)]


# -- by the worker of a node ----------------------------------------------------------------------------------------
def start_node_probe(*, actor: Actor, node: Node, is_idle: bool) -> NodeProbe | None:
    """Take the oldest probe that the node's worker is to run now; None where there is none.

    One of level 2 measures disks and loads GPUs: it waits until no job runs on the node.
    """
    policy.require(actor, "node.run_probe")
    rows = NodeProbe.objects.filter(node=node, state=ProbeState.REQUESTED).select_related("probe").order_by("id")
    if not is_idle:
        rows = rows.filter(probe__level=1)
    row = rows.first()
    if row is None:
        return None
    try:
        return audit.change_state(row, ProbeState.RUNNING, actor=actor, started_at=Now())
    except StaleState:  # another process of the node's name was faster, or its time was over
        return None


def finish_node_probe(*, actor: Actor, row: NodeProbe, document: Mapping[str, Any]) -> NodeProbe:
    """Keep the report that the doctor printed as one of the node's health. Raises StaleState where its time was over.

    What it could not look at from inside the worker changes nothing for what keeps jobs away.
    """
    policy.require(actor, "node.run_probe")
    checks = [{name: check[name] for name in CHECK_FIELDS if name in check} for check in document["checks"]]
    looked_at = [check for check in checks if check["verdict"] != "not_applicable"]
    with transaction.atomic():
        report = store_health_report(
            actor=actor,
            node_id=row.node_id,
            level=document["level"],
            seconds=document["seconds"],
            software=document.get("software", ""),
            checks=checks,
            deciding=looked_at,
        )
        return audit.change_state(row, ProbeState.SUCCEEDED, actor=actor, report_id=report.pk, ended_at=Now())


def fail_node_probe(*, actor: Actor, row: NodeProbe, message: Message) -> NodeProbe:
    """End it without a report, and keep why."""
    policy.require(actor, "node.run_probe")
    return end_without_report(actor, row, message)


def end_without_report(actor: Actor, row: NodeProbe, message: Message) -> NodeProbe:
    fields = {"cause": message.as_fields(), "ended_at": Now()}
    return audit.change_state(row, ProbeState.FAILED, actor=actor, reason=message, **fields)


# -- by the dispatcher ----------------------------------------------------------------------------------------------
def expire_node_probes(*, actor: Actor) -> int:
    """End what no worker took within an hour, or has not ended within 15 minutes; how many. Old probes are removed."""
    policy.require(actor, "node.keep_samples")
    now, count = get_database_now(), 0
    rows = NodeProbe.objects.filter(state__in=ACTIVE_PROBES).annotate(requested_at=F("probe__requested_at"))
    for row in rows.order_by("id")[:500]:
        if row.state == ProbeState.REQUESTED and now - row.requested_at > START_WITHIN:
            message = Message("The worker of the node did not take it within an hour.")
        elif row.started_at is not None and now - row.started_at > RUN_WITHIN:
            message = Message("The worker of the node ended before the doctor did.")
        else:
            continue
        try:
            end_without_report(actor, row, message)
            count += 1
        except StaleState:  # its worker was faster
            continue
    old = Probe.objects.filter(requested_at__lt=now - RETENTION).order_by("id").values_list("pk", flat=True)[:500]
    Probe.objects.filter(pk__in=list(old)).delete()
    return count
