"""The layout and the reference profile out of the quality report of the training data: no row is read again.

A report of schema v3 has the exact shares below about a hundred values of each number, and all values of a text with up
to a hundred; what it has of others is the ten most frequent. Columns of dates are left out: they never stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepseek.drift.layout import MAX_BINS, CategoryLayout, FeatureLayout, Layout, NumberLayout
from deepseek.drift.profile import FeatureProfile, Profile
from deepseek.job import EngineError
from deepseek.messages import N_


def build_report_reference(
    report: Mapping[str, Any], *, features: Sequence[str] | None = None
) -> tuple[Layout, Profile]:
    """Of the columns that the report tells enough of, or of `features`. Raises EngineError ``bad_report``,
    ``no_feature``."""
    columns = {str(column.get("name")): column for column in report.get("columns") or []}
    rows = report.get("rows")
    if not columns or not isinstance(rows, int) or rows < 1:
        raise EngineError(
            "bad_report",
            N_("The quality report of the reference has no rows or no columns."),
            value=str(rows),
            limit=1,
            hint=N_("Give the report of the data that the model was trained with."),
        )
    absent = next((name for name in features or () if name not in columns), None)
    if absent is not None:
        raise EngineError(
            "no_feature",
            N_("The reference data has no column {column}."),
            column=absent,
            field="/features",
            value=absent,
            hint=N_("Name columns of the reference data."),
        )
    profiles = [_read_column(columns[name], rows) for name in (features if features is not None else columns)]
    usable = [profile for profile in profiles if profile is not None]
    profile = Profile(Layout(tuple(feature.layout for feature in usable)))
    profile.rows = rows
    profile.features = {feature.name: feature for feature in usable}
    return profile.layout, profile


def _read_column(column: Mapping[str, Any], rows: int) -> FeatureProfile | None:
    name, missing = str(column["name"]), int(column.get("missing") or 0)
    numeric = column.get("numeric") or {}
    if numeric.get("below"):
        return _read_numbers(name, numeric, rows, missing)
    pairs = column.get("values") or column.get("top")
    if not pairs:
        return None
    is_flag = column.get("dtype") == "bool"
    counts = {str(value).lower() if is_flag else str(value): int(count) for value, count in pairs}
    uncounted = rows - missing - sum(counts.values())
    layout: FeatureLayout = CategoryLayout(name, tuple(counts), bool(column.get("values")) and uncounted <= 0)
    return FeatureProfile(
        layout, np.array(list(counts.values()), dtype=np.int64), missing=missing, unseen_count=max(0, uncounted)
    )


def _read_numbers(name: str, numeric: Mapping[str, Any], rows: int, missing: int) -> FeatureProfile:
    """Edges at the values of the report; a frequent value has one below it too, and so has the least."""
    infinite = int(numeric.get("infinite") or 0)
    count = max(0, rows - missing - infinite)
    shares: dict[float, float] = {}
    for place, (at, under, upto) in enumerate(
        zip(*(numeric["below"][k] for k in ("at", "under", "upto")), strict=True)
    ):
        if place == 0 or upto - under >= 1 / MAX_BINS:
            shares[math.nextafter(at, -math.inf)] = under
        shares[float(at)] = upto
    edges = sorted(edge for edge in shares if math.isfinite(edge))
    upto_counts = np.rint(np.array([shares[edge] for edge in edges]) * count).astype(np.int64)
    profile = FeatureProfile(
        NumberLayout(name, np.array(edges)), np.diff(upto_counts, prepend=0, append=count), missing=missing
    )
    profile.infinite = infinite
    profile.low, profile.high = float(numeric["min"]), float(numeric["max"])
    profile.mean = _read_float(numeric.get("mean"))
    profile.squares = _read_float(numeric.get("std")) ** 2 * max(0, count - 1)
    return profile


def _read_float(value: Any) -> float:
    return math.nan if value is None else float(value)
