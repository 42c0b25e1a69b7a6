"""Writes of nodes' health: tokens of doctors, their reports, and what they mean for placement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.audit import services as audit
from apps.platform.nodes.health.serializers import VERDICTS
from apps.platform.nodes.health.tokens import generate_secret
from apps.platform.nodes.models import Node, NodeHealthReport, NodeToken
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import N_

RETENTION = timedelta(days=90)
MAX_REPORTS = 400  # of a node: one every six hours for 90 days, and some by hand
MAX_FAILED_CHECKS = 50  # ids that a node keeps
MAX_ROWS_PER_DELETE = 500


# -- tokens ---------------------------------------------------------------------------------------------------------
def issue_node_token(*, actor: Actor, node: Node) -> str:
    """A new secret for the node's doctor, which is shown once; the one before it is worthless from now on."""
    policy.require(actor, "node.issue_token")
    secret, prefix, digest = generate_secret()
    with transaction.atomic():
        NodeToken.objects.update_or_create(
            node=node, defaults={"prefix": prefix, "digest": digest, "created_by": actor.label[:200]}
        )
        audit.record(actor=actor, action="node.issue_token", obj=node, after={"prefix": prefix})
    return secret


def revoke_node_token(*, actor: Actor, node: Node) -> None:
    """Take the node's token away. Raises Conflict where it has none."""
    policy.require(actor, "node.revoke_token")
    with transaction.atomic():
        count, _rows = NodeToken.objects.filter(node=node).delete()
        if not count:
            raise Conflict("The node {node_name} has no token.", node_name=node.name, field="node")
        audit.record(actor=actor, action="node.revoke_token", obj=node)


# -- reports --------------------------------------------------------------------------------------------------------
def require_own_node(actor: Actor, action: str, name: str) -> Node:
    """The node that the actor is. Raises Refused `node_token_other` for the name of another one."""
    node = Node.objects.filter(pk=actor.node_id).first()
    if node is None:
        raise NotFound("There is no node {name!r}.", name=name[:120], field="name")
    if node.name != name:
        raise Refused(
            "This token is of the node {node_name}, not of {name!r}.",
            node_name=node.name,
            name=name[:120],
            code="node_token_other",
            action=action,
            field="name",
            limit=node.name,
            hint=N_("Send the node's own token, or name the node: --node."),
            object_type="node",
            object_id=node.pk,
        )
    return node


def record_health_report(
    *,
    actor: Actor,
    name: str,
    level: int,
    seconds: float,
    software: str,
    checks: Sequence[Mapping[str, Any]],
    **_ignored: Any,
) -> NodeHealthReport:
    """Keep a report of the node `name`, by itself, and close or open it for jobs. Raises Refused for another node.

    Recorded where the failed required checks are others than before; the report itself is telemetry.
    """
    policy.require(actor, "node.report_health")
    node = require_own_node(actor, "node.report_health", name)
    return store_health_report(
        actor=actor, node_id=node.pk, level=level, seconds=seconds, software=software, checks=checks, deciding=checks
    )


def store_health_report(
    *,
    actor: Actor,
    node_id: int,
    level: int,
    seconds: float,
    software: str,
    checks: Sequence[Mapping[str, Any]],
    deciding: Sequence[Mapping[str, Any]],
) -> NodeHealthReport:
    """The report as a row of the node; of its checks those in `deciding` close or open the node for jobs.

    For services that have asked the policy.
    """
    with transaction.atomic():
        node = Node.objects.select_for_update().get(pk=node_id)
        before = list(node.failed_checks)
        after = find_failed_checks(before, deciding, level)
        report = NodeHealthReport.objects.create(
            node=node,
            level=level,
            seconds=seconds,
            software=software,
            counts={verdict: sum(check["verdict"] == verdict for check in checks) for verdict in VERDICTS},
            failed_checks=after,
            checks=[dict(check) for check in checks],
        )
        excess = NodeHealthReport.objects.filter(node=node).order_by("-id").values_list("pk", flat=True)
        if keys := list(excess[MAX_REPORTS : MAX_REPORTS + MAX_ROWS_PER_DELETE]):
            NodeHealthReport.objects.filter(pk__in=keys).delete()
        if after != before:
            Node.objects.filter(pk=node.pk).update(failed_checks=after)
            audit.record(
                actor=actor,
                action="node.report_health",
                obj=node,
                before={"failed_checks": before},
                after={"failed_checks": after},
            )
    return report


def find_failed_checks(before: Sequence[str], checks: Sequence[Mapping[str, Any]], level: int) -> list[str]:
    """Ids of required checks that count as failed, sorted.

    What a report has not measured stays as it was: a check that it leaves out, that could not be measured, or that is
    made at a higher level only.
    """
    failed = set(before)
    for check in checks:
        if check["verdict"] == "fail" and check["required"]:
            failed.add(check["id"])
        elif check["verdict"] != "unknown" and check["level"] <= level:
            failed.discard(check["id"])
    return sorted(failed)[:MAX_FAILED_CHECKS]


def delete_expired_reports(*, actor: Actor) -> int:
    """Remove reports that are too old; the newest of a node stays. Returns how many. One query where none is."""
    policy.require(actor, "node.keep_samples")
    newer = NodeHealthReport.objects.filter(node=OuterRef("node"), pk__gt=OuterRef("pk"))
    old = NodeHealthReport.objects.filter(Exists(newer), at__lt=get_database_now() - RETENTION).order_by("at")
    keys = list(old.values_list("pk", flat=True)[:MAX_ROWS_PER_DELETE])
    return NodeHealthReport.objects.filter(pk__in=keys).delete()[0] if keys else 0
