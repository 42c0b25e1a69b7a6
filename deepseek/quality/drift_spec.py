"""Drift of a table against its parent, computed from their quality reports. Pure, and light to import.

Engine and web process read the same formulas: a job tells the drift of what it made from what it took, a page that of
any two versions. Every figure comes from the reports alone, so each is exact or says how far it may be off. Sources:

- PSI: N. Siddiqi, Credit Risk Scorecards, 2006, with his limits 0.1 and 0.25. Without any drift it is about
  (1/n + 1/m) chi-square with bins - 1 degrees of freedom (B. Yurdakul, 2018): below its 0.999 quantile it
  tells nothing.
- Kolmogorov-Smirnov: the largest distance of the two shares below a value; c(0.001) = 1.949 (N. Smirnov, 1948).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

SCHEMA = "plane/drift/v1"
STABLE, MOVED, CHANGED, UNKNOWN = "stable", "moved", "changed", "unknown"
LIMITS: dict[str, tuple[float, float]] = {
    "psi": (0.1, 0.25),
    "ks": (0.1, 0.25),
    "missing_share": (0.05, 0.2),
    "unseen_share": (0.01, 0.1),
}
"""From where a column has moved, and from where it has changed: PSI, KS distance, change of the share of missing cells,
and share of rows in categories that the other table does not have."""
KS_CRITICAL = 1.949
CHI_NORMAL = 3.090
"""The 0.999 quantile of the normal distribution, for that of chi-square (Wilson and Hilferty, 1931)."""
MIN_SHARE = 1e-4
"""The least share of a bin: an empty one would make PSI infinite."""
MIN_ROWS_PER_BIN = 5
"""Rows of the parent that a bin must have, or it joins the next one: Cochran's rule."""
MAX_NAMED_CATEGORIES = 20

Report = Mapping[str, Any]
Column = Mapping[str, Any]
VERDICT_ORDER = (UNKNOWN, STABLE, MOVED, CHANGED)


def compute_drift(parent: Report, report: Report) -> dict[str, Any]:
    """The drift of `report` from `parent`, column by column: both of any schema that this plane has written."""
    old, new = _index_columns(parent), _index_columns(report)
    rows_before, rows = int(parent.get("rows") or 0), int(report.get("rows") or 0)
    columns = [_compare_columns(old[name], new[name], rows_before, rows) for name in new if name in old]
    retyped = [c for c in columns if c["dtype_before"] != c["dtype"]]
    schema = {
        "added": [{"name": name, "dtype": new[name].get("dtype")} for name in new if name not in old],
        "removed": [{"name": name, "dtype": old[name].get("dtype")} for name in old if name not in new],
        "retyped": [{"name": c["name"], "before": c["dtype_before"], "after": c["dtype"]} for c in retyped],
    }
    verdicts = [str(c["verdict"]) for c in columns]
    altered = MOVED if any(schema.values()) else STABLE
    return {
        "schema": SCHEMA,
        "verdict": max([altered, *verdicts], key=VERDICT_ORDER.index),
        "counts": {word: verdicts.count(word) for word in VERDICT_ORDER},
        "rows_before": rows_before,
        "rows": rows,
        "schema_changes": schema,
        "columns": columns,
        "limits": {name: list(pair) for name, pair in LIMITS.items()},
    }


def _index_columns(report: Report) -> dict[str, Column]:
    return {str(column.get("name")): column for column in report.get("columns") or []}


def _compare_columns(before: Column, after: Column, rows_before: int, rows: int) -> dict[str, Any]:
    present = rows_before - int(before.get("missing") or 0), rows - int(after.get("missing") or 0)
    psi, noise, bins = compute_psi(before, after, present)
    distance, off = compute_ks_distance(before, after)
    new, lost, unseen = compare_categories(before, after, present)
    change = float(after.get("missing_share") or 0) - float(before.get("missing_share") or 0)
    needed = KS_CRITICAL * math.sqrt(1 / present[0] + 1 / present[1]) if min(present) > 0 else math.inf
    distances = {
        "psi": psi if psi is not None and psi > noise else 0.0 if psi is not None else None,
        # What may be an error of the estimate is not called drift.
        "ks": None if distance is None else distance if distance - off > needed else 0.0,
        "missing_share": abs(change) if rows_before and rows else None,
        "unseen_share": unseen,
    }
    reasons = {name: classify_drift(name, value) for name, value in distances.items() if value is not None}
    if before.get("dtype") != after.get("dtype"):
        reasons["dtype"] = MOVED
    values = [name for name in ("psi", "ks", "unseen_share") if name in reasons]
    word = max(reasons.values(), key=VERDICT_ORDER.index, default=UNKNOWN)
    return {
        "name": str(after.get("name")),
        "dtype_before": before.get("dtype"),
        "dtype": after.get("dtype"),
        "verdict": word if values or word != STABLE else UNKNOWN,
        "reasons": [name for name, verdict in reasons.items() if verdict == word and word != STABLE],
        "psi": psi,
        "psi_noise": noise if psi is not None else None,
        "psi_bins": bins,
        "ks": distance,
        "ks_error": off if distance is not None else None,
        "ks_exact": distance is not None and off == 0,
        "ks_noise": needed if distance is not None and math.isfinite(needed) else None,
        "new_categories": new,
        "lost_categories": lost,
        "unseen_share": unseen,
        "missing_share_change": change,
    }


def classify_drift(name: str, value: float) -> str:
    """stable, moved or changed, by LIMITS."""
    moved, changed = LIMITS[name]
    return CHANGED if value >= changed else MOVED if value >= moved else STABLE


# -- population stability index -------------------------------------------------------------------------------------
def compute_psi(before: Column, after: Column, present: tuple[int, int]) -> tuple[float | None, float, int | None]:
    """(PSI, what it reaches by chance once in a thousand, bins): numbers over the parent's bins, else its categories.

    PSI = sum of (q - p) ln(q / p) over bins, p and q the shares of parent and child; values beyond the parent's range
    count in its outer bins' neighbours. (None, 0, None) where the reports do not say.
    """
    shares = _compute_bin_shares(before, after) or _compute_category_shares(before, after)
    if shares is None or min(present) <= 0:
        return None, 0.0, None
    expected, actual = _merge_small_bins(shares[0], shares[1], MIN_ROWS_PER_BIN / present[0])
    if len(expected) < 2:
        return (0.0 if expected == actual else None), 0.0, len(expected)
    pairs = [(max(p, MIN_SHARE), max(q, MIN_SHARE)) for p, q in zip(expected, actual, strict=True)]
    psi = sum((q - p) * math.log(q / p) for p, q in pairs)
    freedom = len(pairs) - 1
    part = 2 / (9 * freedom)
    chi = freedom * (1 - part + CHI_NORMAL * math.sqrt(part)) ** 3
    return psi, (1 / present[0] + 1 / present[1]) * chi, len(pairs)


def _compute_bin_shares(before: Column, after: Column) -> tuple[list[float], list[float]] | None:
    histogram = (before.get("numeric") or {}).get("histogram")
    distribution = _read_distribution(after)
    total = sum(histogram["counts"]) if histogram else 0
    if not histogram or distribution is None or not total:
        return None
    edges = histogram["edges"]
    expected = [0.0, *(count / total for count in histogram["counts"]), 0.0]
    # As np.histogram counts: a bin has its lower edge, the last one both.
    marks = [
        0.0,
        *(distribution.get_share_below(edge) for edge in edges[:-1]),
        distribution.get_share_upto(edges[-1]),
        1.0,
    ]
    return expected, [max(0.0, high - low) for low, high in pairwise(marks)]


def _compute_category_shares(before: Column, after: Column) -> tuple[list[float], list[float]] | None:
    old, new = before.get("values"), after.get("values")
    if not old or not new:
        return None
    old_counts, new_counts = dict(map(tuple, old)), dict(map(tuple, new))
    names = [*old_counts, *(name for name in new_counts if name not in old_counts)]
    totals = sum(old_counts.values()), sum(new_counts.values())
    return [old_counts.get(n, 0) / totals[0] for n in names], [new_counts.get(n, 0) / totals[1] for n in names]


def _merge_small_bins(
    expected: Sequence[float], actual: Sequence[float], min_share: float
) -> tuple[list[float], list[float]]:
    """Merge bins with less than `min_share` of the parent into the next one, the last into the one before it."""
    merged: list[list[float]] = []
    p = q = 0.0
    for share, other_share in zip(expected, actual, strict=True):
        p, q = p + share, q + other_share
        if p >= min_share:
            merged.append([p, q])
            p = q = 0.0
    if (p or q) and merged:
        merged[-1] = [merged[-1][0] + p, merged[-1][1] + q]
    elif p or q:
        merged.append([p, q])
    return [pair[0] for pair in merged], [pair[1] for pair in merged]


# -- Kolmogorov and Smirnov -----------------------------------------------------------------------------------------
class CumulativeDistribution:
    """Which share of the values lies below a value: exact at the knots, in a straight line between them."""

    def __init__(self, at: Sequence[float], under: Sequence[float], upto: Sequence[float]) -> None:
        self.at, self.shares_below, self.shares_upto = list(at), list(under), list(upto)
        gaps = [low - high for low, high in zip(self.shares_below[1:], self.shares_upto[:-1], strict=True)]
        self.max_gap = max([0.0, *gaps])

    def get_share_below(self, value: float) -> float:
        """The share that is smaller than `value`."""
        place = bisect_left(self.at, value)
        if place < len(self.at) and self.at[place] == value:
            return self.shares_below[place]
        return self._interpolate(place, value)

    def get_share_upto(self, value: float) -> float:
        """The share that is not larger than `value`."""
        place = bisect_right(self.at, value)
        if place and self.at[place - 1] == value:
            return self.shares_upto[place - 1]
        return self._interpolate(place, value)

    def _interpolate(self, place: int, value: float) -> float:
        if place == 0:
            return 0.0
        if place == len(self.at):
            return 1.0
        low, high = self.at[place - 1], self.at[place]
        part = (value / 2 - low / 2) / (high / 2 - low / 2)
        return self.shares_upto[place - 1] + part * (self.shares_below[place] - self.shares_upto[place - 1])


def _read_distribution(column: Column) -> CumulativeDistribution | None:
    """From the shares below a hundred values; of an older report from its histogram, each bin spread evenly."""
    numeric = column.get("numeric") or {}
    knots = numeric.get("below")
    if knots:
        return CumulativeDistribution(knots["at"], knots["under"], knots["upto"])
    histogram = numeric.get("histogram")
    total = sum(histogram["counts"]) if histogram else 0
    if not histogram or not total:
        return None
    shares, cumulated = [0.0], 0
    for count in histogram["counts"]:
        cumulated += count
        shares.append(cumulated / total)
    return CumulativeDistribution(histogram["edges"], shares, shares)


def compute_ks_distance(before: Column, after: Column) -> tuple[float | None, float]:
    """(the largest distance of the two distributions, how far it may be off); (None, 0) where a report does not say."""
    old, new = _read_distribution(before), _read_distribution(after)
    if old is None or new is None:
        return None, 0.0
    knots = sorted({*old.at, *new.at})
    distance = max(
        max(
            abs(old.get_share_below(at) - new.get_share_below(at)), abs(old.get_share_upto(at) - new.get_share_upto(at))
        )
        for at in knots
    )
    return distance, max(old.max_gap, new.max_gap)


# -- categories -----------------------------------------------------------------------------------------------------
def compare_categories(
    before: Column, after: Column, present: tuple[int, int]
) -> tuple[list[str] | None, list[str] | None, float | None]:
    """(new, lost, the larger share of rows in one of them); None where not all categories of both are known."""
    old, new = before.get("values"), after.get("values")
    if old is None or new is None or min(present) <= 0:
        return None, None, None
    old_counts, new_counts = dict(map(tuple, old)), dict(map(tuple, new))
    fresh = [name for name in new_counts if name not in old_counts]
    lost = [name for name in old_counts if name not in new_counts]
    shares = sum(new_counts[n] for n in fresh) / present[1], sum(old_counts[n] for n in lost) / present[0]
    return fresh[:MAX_NAMED_CATEGORIES], lost[:MAX_NAMED_CATEGORIES], max(shares)
