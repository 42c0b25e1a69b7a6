"""Drift between two versions, computed from their quality reports on request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.core.cache import cache
from django.utils.translation import pgettext

from apps.core.actors import Actor
from apps.data.datasets import presenters, queries
from apps.data.datasets.models import DatasetVersion
from deepseek.quality.drift_spec import SCHEMA, compute_drift

CACHE_SECONDS = 86_400
MIN_CACHED_COLUMNS = 500  # columns: fewer are compared faster than a cache answers

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DriftBaseline:
    """The version that drift is measured against, and whether it is the parent."""

    version: DatasetVersion
    is_parent: bool


def find_baseline(
    actor: Actor, version: DatasetVersion, which: str = "", parent: DatasetVersion | Literal["unread"] | None = "unread"
) -> DriftBaseline | None:
    """The version named by number or digest; else the one that it was made from (`parent`, where it is read already),
    else the one before it.

    None where there is none. Raises Invalid or NotFound for a name that names none.
    """
    if which:
        project, name = version.dataset.project, version.dataset.name
        return DriftBaseline(queries.get_version(actor, project, name, which[:64]), is_parent=False)
    if parent == "unread":
        parent = presenters.find_parent(version)[1]
    if parent is not None:
        return DriftBaseline(parent, is_parent=True)
    earlier = (
        queries.list_versions(actor, version.dataset).filter(number__lt=version.number).order_by("-number").first()
    )
    return DriftBaseline(earlier, is_parent=False) if earlier else None


def get_drift(actor: Actor, version: DatasetVersion, other: DatasetVersion) -> dict[str, Any] | None:
    """The drift of `version` from `other`; None while one of them is not measured. Kept, as reports never change."""
    if version.quality_id is None or other.quality_id is None:
        return None
    if len(version.columns) < MIN_CACHED_COLUMNS:
        return compute_report_drift(presenters.load_report(actor, other), presenters.load_report(actor, version))
    key = f"drift:{SCHEMA}:{version.quality_id[:24]}:{other.quality_id[:24]}"
    drift: dict[str, Any] | None = cache.get(key)
    if drift is None:
        before, report = presenters.load_report(actor, other), presenters.load_report(actor, version)
        if before is None or report is None:
            return None
        drift = compute_drift(before, report)
        cache.set(key, drift, CACHE_SECONDS)
    return drift


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """A drift, or one column of it, with the label of its verdict and the state that colours it."""

    told: Mapping[str, Any] | None
    state: str
    word: str

    @property
    def missing_points(self) -> float:
        """Change of the share of missing cells, in percentage points."""
        return 100 * float((self.told or {}).get("missing_share_change") or 0)


def get_verdict_labels() -> dict[str, tuple[str, str]]:
    return {
        "stable": ("pass", pgettext("drift", "stable")),
        "moved": ("warn", pgettext("drift", "moved")),
        "changed": ("fail", pgettext("drift", "changed")),
        "unknown": ("queued", pgettext("drift", "unknown")),
    }


def label_drift(drift: Mapping[str, Any] | None) -> DriftVerdict:
    """Label a drift or a column of it. One that moved without a moved column has columns of only one version."""
    verdict, counts = str((drift or {}).get("verdict", "unknown")), (drift or {}).get("counts")
    if verdict == "moved" and counts and not counts["moved"]:
        return DriftVerdict(drift, "warn", pgettext("drift", "other columns"))
    return DriftVerdict(drift, *get_verdict_labels()[verdict])


def sort_column_drifts(drift: Mapping[str, Any] | None) -> list[DriftVerdict]:
    """The columns sorted by verdict, most changed first, each group in the order of the table."""
    rows = [label_drift(column) for column in (drift or {}).get("columns") or []]
    place = {name: at for at, name in enumerate(["changed", "moved", "stable", "unknown"])}
    return sorted(rows, key=lambda row: place[str((row.told or {}).get("verdict", "unknown"))])


def compute_report_drift(before: Report | None, report: Report | None) -> dict[str, Any] | None:
    """Compute the drift of two reports that are loaded already."""
    return compute_drift(before, report) if before is not None and report is not None else None
