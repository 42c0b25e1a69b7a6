"""Variants that lost more accuracy than their quantization allowed: a version that holds one is not promoted.

What was lost and what was allowed stand in the variant's figures, and so in the version's document, whose digest names
the version: nobody can change them afterwards. Pure, but for the error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Conflict
from apps.ml.registry.documents import read_document
from apps.ml.registry.models import ModelVersion
from deepseek.messages import N_, Message


@dataclass(frozen=True, slots=True)
class ExceededLoss:
    """A variant that lost `loss` of `metric`, and was allowed to lose `limit`; `unit`: points or percent."""

    name: str
    metric: str
    loss: float
    limit: float
    unit: str

    def describe(self) -> Message:
        """What it lost, for a reader."""
        text = (
            N_("{name} lost {loss:.2f} points of {metric} against fp32, and {limit:g} are allowed")
            if self.unit == "points"
            else N_("{name} has {loss:.2f} % more {metric} than fp32, and {limit:g} % are allowed")
        )
        return Message(text, name=self.name, loss=self.loss, metric=self.metric, limit=self.limit)


def list_exceeded_losses(variants: Iterable[tuple[str, Mapping[str, Any]]]) -> list[ExceededLoss]:
    """Of (name, figures) those that lost more than was allowed."""
    matches = []
    for name, figures in variants:
        allowance = figures.get("allowance")
        if allowance and allowance["exceeded"]:
            loss, allowed = allowance["loss"], allowance["allowed"]
            matches.append(ExceededLoss(name, loss["metric"], loss["value"], allowed["limit"], allowed["unit"]))
    return matches


def require_allowed_losses(version: ModelVersion) -> None:
    """Raise Conflict `accuracy_lost` for a version with a variant that lost more than its quantization allowed."""
    document = read_document(version.document)
    exceeded = list_exceeded_losses((row["name"], row["figures"]) for row in document["variants"])
    if not exceeded:
        return
    raise Conflict(
        "{version} cannot be promoted: {loss}.",
        version=version,
        loss=exceeded[0].describe(),
        code="accuracy_lost",
        field=f"variants/{exceeded[0].name}",
        limit=f"{exceeded[0].limit:g} {exceeded[0].unit}",
        hint=N_("Register a version without this variant, or with the one that the quantization recommends."),
    )
