"""What apps above this one add to the facts of a promotion, for instance the alarm that had a version trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.registry import Registry
from apps.ml.registry.models import ModelVersion
from apps.platform.approvals.models import Approval


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionEvidence:
    """`find`: JSON values of a version, the same with every call, or None. `template`: cards of the approval's page,
    with what `build_context` makes of the facts as they were when it was requested."""

    find: Callable[[ModelVersion], dict[str, Any] | None]
    template: str
    build_context: Callable[[Approval, Mapping[str, Any]], Mapping[str, Any]]


PROMOTION_EVIDENCE: Registry[PromotionEvidence] = Registry("PROMOTION_EVIDENCE")
"""By the name under which it stands in the facts."""


def find_evidence(version: ModelVersion) -> dict[str, Any]:
    rows = {key: evidence.find(version) for key, evidence in PROMOTION_EVIDENCE.items()}
    return {key: value for key, value in rows.items() if value is not None}


def build_evidence_cards(approval: Approval, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{template, context}] of the evidence that the facts hold and this plane knows."""
    return [
        {
            "template": PROMOTION_EVIDENCE[key].template,
            "context": PROMOTION_EVIDENCE[key].build_context(approval, value),
        }
        for key, value in facts.get("evidence", {}).items()
        if key in PROMOTION_EVIDENCE
    ]
