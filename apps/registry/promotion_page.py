"""The part of an approval's page that says what changes, drawn from the facts: it shows what is decided about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from apps.approvals.models import Approval
from apps.datasets.models import DatasetVersion
from apps.lineage.models import Edge
from apps.registry.models import ModelVersion
from apps.registry.shown import address_of, against_baseline, beside, variant_rows

USERS_SHOWN = 10


def page_of(approval: Approval) -> dict[str, Any]:
    """The context of registry/promotion.html; asks for no right of its own: who sees the approval sees its facts."""
    facts, slug = json.loads(approval.facts), approval.project.slug
    candidate, current = facts["candidate"], facts["current"]
    rows, pairs = variant_rows(candidate), beside(candidate, current)
    context = {
        "slug": slug,
        "promotion": facts,
        "candidate": candidate,
        "current": current,
        "rows": rows,
        "pairs": pairs,
        "first": next((pair.metrics[0] for pair in pairs if pair.metrics), None),
        "baseline": against_baseline(rows[0]) if rows else None,
        "data": data_of(approval, facts),
        "run_url": address_of("experiments:detail", slug, facts["run"]["id"]) if facts["run"] else "",
        "users": users_of(approval, facts),
        "same_signature": current is not None and current["signature"] == candidate["signature"],
    }
    number = {"number": candidate["version"]}
    return {
        **context,
        "answer": render_to_string("registry/promotion_answer.html", context),
        "approve_label": _("Approve, move production to v%(number)s") % number,
        "reject_label": _("Reject, leave production at v%(number)s") % {"number": current["version"]}
        if current
        else _("Reject, leave production empty"),
    }


def data_of(approval: Approval, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data that the facts name, with the addresses of their versions."""
    rows = []
    for told in facts["data"]:
        url = address_of("datasets:version", approval.project.slug, told["dataset"], told["version"])
        rows.append({**told, "url": url})
    known = DatasetVersion.objects.filter(
        dataset__project=approval.project_id, digest__in=[row["digest"] for row in rows]
    ).values_list("digest", "rows")
    counted = dict(known)
    return [{**row, "rows": counted.get(row["digest"])} for row in rows]


def users_of(approval: Approval, facts: Mapping[str, Any]) -> list[Edge]:
    """What lineage knows to have been made from the version that stands in production, the newest first."""
    if not facts["current"]:
        return []
    versions = ModelVersion.objects.filter(model__project=approval.project_id, model__name=facts["model"])
    current = versions.filter(number=facts["current"]["version"]).first()
    if current is None:
        return []
    ends = {"model_version": [current.pk], "variant": list(current.variants.values_list("pk", flat=True))}
    found = []
    for kind, keys in ends.items():
        edges = Edge.objects.filter(project=approval.project_id, source_type=kind, source_id__in=[str(k) for k in keys])
        found += list(edges.exclude(target_type="model_version").order_by("-pk")[:USERS_SHOWN])
    return found[:USERS_SHOWN]
