"""Writes of isolation: a new version of the policy, a report of a node, and the end of old reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.platform.audit import services as audit
from apps.platform.jobs.spec_validation import parse_model
from apps.platform.nodes.models import Node
from apps.platform.nodes.samples import get_database_now
from apps.platform.nodes.services import check_size
from apps.site.isolation.models import PolicyVersion, ProbeReport
from deepseek.isolation.spec import Policy, build_digest
from deepseek.messages import N_

RETENTION = timedelta(days=90)
MAX_ROWS_PER_DELETE = 5000
MAX_REASON_LENGTH = 200


def set_policy(*, actor: Actor, document: Mapping[str, Any], reason: str) -> PolicyVersion:
    """Make the document the policy of the site: a new version, which nodes fetch and apply.

    Raises Invalid with every fault of it, or where it names nothing; Conflict where it is the policy already.
    """
    policy.require(actor, "isolation.set_policy")
    spec = parse_model(Policy, document, strict=False, prefix="/policy")
    reason = reason.strip()
    check_size("reason", reason, MAX_REASON_LENGTH)
    if not spec.networks and not spec.names and not spec.ports:
        raise Invalid(
            "The policy names nothing that a node may reach: it would lock every node out of this plane.",
            code="lockout",
            field="/policy/networks",
            limit="at least the network or the name of this plane",
            hint=N_("Add it. A node refuses a policy without the plane before it applies it."),
        )
    digest = build_digest(spec)
    with transaction.atomic():
        current = PolicyVersion.objects.select_for_update().order_by("-number").first()
        if current is not None and current.digest == digest:
            raise Conflict("This is the policy already, as version {number}.", number=current.number, field="/policy")
        number = (PolicyVersion.objects.aggregate(last=Max("number"))["last"] or 0) + 1
        version = PolicyVersion.objects.create(
            number=number,
            document=spec.model_dump(mode="json"),
            digest=digest,
            reason=reason,
            created_by=actor.label[:200],
        )
        audit.record(
            actor=actor,
            action="isolation.set_policy",
            obj=version,
            reason=reason,
            before={"policy": current.document if current else None},
            after={"number": number, "policy": version.document, "digest": digest},
        )
    return version


def record_report(*, actor: Actor, name: str, report: Mapping[str, Any]) -> ProbeReport:
    """Keep what the probes of a node found. Telemetry: not recorded. NotFound for another node than the sender."""
    policy.require(actor, "isolation.report")
    node = get_own_node(actor, name)
    results = [dict(row) for row in report["results"]]
    verdicts = {str(row["verdict"]) for row in results}
    return ProbeReport.objects.create(
        node=node,
        verdict=next(each for each in ("passed", "unknown", "refused") if each in verdicts),
        policy_digest=report.get("policy_digest", ""),
        is_privileged=bool(report.get("is_privileged")),
        results=results,
    )


def get_own_node(actor: Actor, name: str) -> Node:
    """The node that sends, if it has this name."""
    node = None if actor.node_id is None else Node.objects.filter(pk=actor.node_id, name=name).first()
    if node is None:
        raise NotFound("This token is not one of the node {name!r}.", name=name[:120], field="name")
    return node


def delete_expired_reports(*, actor: Actor) -> int:
    """Remove reports older than RETENTION, but for the newest of each node; returns how many."""
    policy.require(actor, "isolation.delete_expired")
    old = ProbeReport.objects.filter(at__lt=get_database_now() - RETENTION)
    if not old.exists():
        return 0
    newest = ProbeReport.objects.values("node").annotate(last=Max("pk")).values("last")
    keys = list(old.exclude(pk__in=newest).order_by("at").values_list("pk", flat=True)[:MAX_ROWS_PER_DELETE])
    return ProbeReport.objects.filter(pk__in=keys).delete()[0] if keys else 0
