"""Reads of nodes' health."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.core import policy
from apps.core.actors import Actor
from apps.platform.audit.models import AuditRecord, Result
from apps.platform.audit.queries import get_last_verification
from apps.platform.audit.verification import get_unsealed_state
from apps.platform.nodes.health.conflicts import get_site_rules
from apps.platform.nodes.models import Node, NodeHealthReport

TREND_REPORTS = 60
SUMMARY = ("id", "at", "level", "seconds", "software", "counts", "failed_checks")


def get_newest_report(actor: Actor, node: Node) -> NodeHealthReport | None:
    policy.require(actor, "node.view")
    return NodeHealthReport.objects.filter(node=node).order_by("-id").first()


def list_report_summaries(actor: Actor, node: Node) -> list[dict[str, Any]]:
    """Counts of the newest reports without their checks, newest first."""
    policy.require(actor, "node.view")
    return list(NodeHealthReport.objects.filter(node=node).order_by("-id").values(*SUMMARY)[:TREND_REPORTS])


def describe_registration(node: Node) -> dict[str, Any]:
    """How the plane knows the node, for its doctor to compare; with the conflict rules that the site has imported."""
    names = ("name", "cpus", "memory_bytes", "gpus", "extras")
    return {**{name: getattr(node, name) for name in names}, "conflicts": get_site_rules()}


# -- the plane itself -----------------------------------------------------------------------------------------------
def describe_plane_health(actor: Actor) -> dict[str, Any]:
    """What a node's doctor asks of the plane: facts, without an address or a name of anybody."""
    policy.require(actor, "node.view_plane_health")
    return {"database": describe_database(), "audit": describe_audit(), "backup": describe_backup()}


def describe_database() -> dict[str, Any]:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    facts: dict[str, Any] = {
        "vendor": connection.vendor,
        "pending_migrations": [f"{each.app_label}.{each.name}" for each, _backwards in pending],
    }
    statements = (
        {"journal_mode": "PRAGMA journal_mode", "synchronous": "PRAGMA synchronous"}
        if connection.vendor == "sqlite"
        else {"synchronous_commit": "SHOW synchronous_commit", "isolation": "SHOW transaction_isolation"}
    )
    with connection.cursor() as cursor:
        for name, statement in statements.items():
            cursor.execute(statement)
            row = cursor.fetchone()
            facts[name] = row[0] if row else None
    return facts


def describe_audit() -> dict[str, Any]:
    last, unsealed = get_last_verification(), get_unsealed_state()
    return {
        "is_verified": None if last is None else last.whole,
        "verified_at": None if last is None else last.at.isoformat(),
        "seal_lag_seconds": round(unsealed.oldest_seconds, 3),
    }


def describe_backup() -> dict[str, Any]:
    return {
        "made_at": find_last_time("plane.backup", "snapshot.stored"),
        "drilled_at": find_last_time("plane.restore_drill"),
    }


def find_last_time(*actions: str) -> str | None:
    """When the audit trail last says that one of these was done. One query for each, by the index of actions."""
    rows = (
        AuditRecord.objects.filter(action=action).exclude(result=Result.REFUSED).order_by("-id").first()
        for action in actions
    )
    times = [row.at for row in rows if row is not None]
    return max(times).isoformat() if times else None
