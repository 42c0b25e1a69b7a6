"""What the page of a rollout's approval shows: from the facts, and the pictures from the look that they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.fleet.rollouts.facts import START
from apps.fleet.rollouts.gate_charts import describe_gates, describe_sample
from apps.fleet.rollouts.models import Look
from apps.fleet.rollouts.presenters import describe_planned_gate, describe_preview
from apps.fleet.rollouts.schemas import read_plan
from apps.ml.registry.presenters import build_variant_rows, pair_with_other
from apps.platform.approvals.models import Approval


def build_approval_context(approval: Approval) -> dict[str, Any]:
    """The context of rollouts/approval.html; asks for no right of its own: who sees the approval sees its facts."""
    facts = json.loads(approval.facts)
    candidate, current = facts["candidate"], facts["current"]
    gates = read_plan({**facts["plan"], "waves": [{"share": 1.0}]}).canary
    context = {
        "facts": facts,
        "slug": approval.project.slug,
        "candidate": candidate,
        "current": current,
        "rows": build_variant_rows(candidate),
        "pairs": pair_with_other(candidate, current) if current else [],
        "radius": describe_preview(facts["blast_radius"], gates.power),
        "gate_words": [describe_planned_gate(gate.model_dump()) for gate in gates.gates],
        "is_start": facts["stage"] == START,
    }
    return {**context, **describe_decision(approval, facts, gates.power)}


def describe_decision(approval: Approval, facts: Mapping[str, Any], power: float) -> dict[str, Any]:
    """What the buttons do, and the evidence where the rollout has begun."""
    if facts["stage"] == START:
        return {
            "approve_label": _("Approve, let it start"),
            "reject_label": _("Reject, no device changes"),
        }
    evidence, upcoming = facts["evidence"], facts["next_wave"]
    look = Look.objects.filter(
        wave__rollout=facts["rollout"],
        wave__rollout__project=approval.project_id,
        wave__position=facts["wave"]["position"],
        number=evidence["look"],
    ).first()
    return {
        "evidence": evidence,
        "wave_number": facts["wave"]["position"] + 1,
        "gates": describe_gates(look.document if look else evidence),
        "sample": describe_sample(facts["wave"]["devices"], power, evidence["can_show"]),
        "approve_label": _("Approve, go on to %(devices)s devices") % {"devices": f"{upcoming['devices']:,}"}
        if upcoming
        else _("Approve, let it complete"),
        "reject_label": _("Reject, keep it on hold"),
    }
