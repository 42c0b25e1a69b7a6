"""The health of a node as its page shows it: what is not in order first, and how the counts went."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.nodes.health import queries
from apps.platform.nodes.health.serializers import VERDICTS
from apps.platform.nodes.models import Node, NodeToken
from apps.platform.nodes.probes.queries import get_newest_node_probe

LABELS = {
    "fail": gettext_lazy("Failed"),
    "warn": gettext_lazy("Warning"),
    "unknown": gettext_lazy("Not measured"),
    "ok": gettext_lazy("Passed"),
    "not_applicable": gettext_lazy("Not applicable"),
}
CLASSES = {"fail": "failed", "warn": "held", "unknown": "cancelled", "ok": "succeeded", "not_applicable": "cancelled"}
"""The states of jobs whose colour and sign a verdict has."""


def build_health_context(actor: Actor, node: Node) -> dict[str, Any]:
    report = queries.get_newest_report(actor, node)
    trend = queries.list_report_summaries(actor, node)
    checks = sorted((build_row(check) for check in report.checks), key=lambda row: row["rank"]) if report else []
    return {
        "report": report,
        "counts": [(LABELS[verdict], report.counts.get(verdict, 0)) for verdict in VERDICTS] if report else [],
        "problems": [row for row in checks if row["verdict"] in ("fail", "warn", "unknown")],
        "in_order": [row for row in checks if row["verdict"] in ("ok", "not_applicable")],
        "trend": build_trend_chart(trend),
        "token": NodeToken.objects.filter(node=node).first(),
        "may_issue_token": is_allowed(actor, "node.issue_token"),
        "newest_probe": get_newest_node_probe(actor, node),
        "may_request_probe": is_allowed(actor, "node.request_probe"),
    }


def build_row(check: dict[str, Any]) -> dict[str, Any]:
    verdict = check["verdict"]
    is_blocking = verdict == "fail" and check["required"]
    return {
        **check,
        "label": LABELS[verdict],
        "css": CLASSES[verdict],
        "is_blocking": is_blocking,
        "rank": (VERDICTS.index(verdict), not is_blocking),
    }


def build_trend_chart(trend: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Failed checks and warnings of the newest reports, in order of time; None for fewer than two."""
    if len(trend) < 2:
        return None
    rows = trend[::-1]
    times = [row["at"].timestamp() for row in rows]
    series = [
        {"label": str(LABELS[verdict]), "points": list(zip(times, counts, strict=True))}
        for verdict in ("fail", "warn")
        if (counts := [row["counts"].get(verdict, 0) for row in rows])
    ]
    return {
        "id": "health-trend",
        "series": series,
        "axis": "time",
        "span": (times[0], times[-1]),
        "x_unit": _("time"),
        "y_unit": _("checks"),
        "holding": (0.0,),
        "whole": True,
        "small": True,
    }
