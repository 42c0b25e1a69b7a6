"""Comparison of the schemas and parameters of two versions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.data.datasets.quality.verdicts import get_quantile, index_columns

Report = Mapping[str, Any]
DRIFTED = ("changed", "moved")


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """`change`: new (only in this version), gone (only in the other), type, changed or moved (the drift of its values),
    same, or unmeasured: the same type, and nothing is known of the values."""

    name: str
    change: str
    dtype: str
    other_dtype: str
    told: Mapping[str, Any]
    other_told: Mapping[str, Any]
    median: float | None
    other_median: float | None

    @property
    def differs(self) -> bool:
        return self.change not in ("same", "unmeasured")


def build_schema(columns: list[dict[str, Any]], report: Report | None) -> dict[str, str]:
    """{name: type}, as profiled if it was, else as declared."""
    measured = {name: str(column.get("dtype") or "") for name, column in index_columns(report).items()}
    declared = {str(column.get("name")): str(column.get("dtype") or "") for column in columns}
    return {name: measured.get(name) or dtype for name, dtype in (declared or measured).items()}


def pair_schemas(
    here: Mapping[str, str],
    other: Mapping[str, str],
    report: Report | None,
    other_report: Report | None,
    drifts: Mapping[str, Mapping[str, Any]],
) -> list[ColumnPair]:
    """Every column of both, what changed first, each group in the order of its table; `drifts` by column."""
    now, then = index_columns(report), index_columns(other_report)
    pairs = []
    for name in [*here, *(name for name in other if name not in here)]:
        facts, other_facts = now.get(name, {}), then.get(name, {})
        pairs.append(
            ColumnPair(
                name,
                classify_change(here.get(name), other.get(name), drifts.get(name)),
                here.get(name, ""),
                other.get(name, ""),
                facts,
                other_facts,
                get_quantile(facts, "0.5"),
                get_quantile(other_facts, "0.5"),
            )
        )
    return sorted(pairs, key=lambda pair: not pair.differs)


def classify_change(here: str | None, other: str | None, drift: Mapping[str, Any] | None = None) -> str:
    if other is None:
        return "new"
    if here is None:
        return "gone"
    if here != other:
        return "type"
    verdict = str((drift or {}).get("verdict", "unknown"))
    if verdict in DRIFTED:
        return verdict
    if drift and (drift.get("new_categories") or drift.get("lost_categories")):
        return "moved"
    return "unmeasured" if verdict == "unknown" else "same"


def diff_params(here: list[tuple[str, Any]], other: list[tuple[str, Any]]) -> list[tuple[str, Any, Any]]:
    """(name, here, there) of the parameters that differ; None where one has none of that name."""
    now, then = dict(here), dict(other)
    names = [*now, *(name for name in then if name not in now)]
    return [(name, now.get(name), then.get(name)) for name in names if now.get(name) != then.get(name)]
