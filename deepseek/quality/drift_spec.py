"""How far a table has moved from the one it came from, by their two quality reports. Pure, and light to import.

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
FLOOR = 1e-4
"""The least share of a bin: an empty one would make PSI infinite."""
LEAST_IN_BIN = 5
"""Rows of the parent that a bin must have, or it joins the next one: Cochran's rule."""
NAMED = 20

Report = Mapping[str, Any]
Column = Mapping[str, Any]
ORDER = (UNKNOWN, STABLE, MOVED, CHANGED)


def drift_of(parent: Report, report: Report) -> dict[str, Any]:
    """The drift of `report` from `parent`, column by column: both of any schema that this plane has written."""
    old, new = _by_name(parent), _by_name(report)
    rows_before, rows = int(parent.get("rows") or 0), int(report.get("rows") or 0)
    columns = [_column(old[name], new[name], rows_before, rows) for name in new if name in old]
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
        "verdict": max([altered, *verdicts], key=ORDER.index),
        "counts": {word: verdicts.count(word) for word in ORDER},
        "rows_before": rows_before,
        "rows": rows,
        "schema_changes": schema,
        "columns": columns,
        "limits": {name: list(pair) for name, pair in LIMITS.items()},
    }


def _by_name(report: Report) -> dict[str, Column]:
    return {str(column.get("name")): column for column in report.get("columns") or []}


def _column(before: Column, after: Column, rows_before: int, rows: int) -> dict[str, Any]:
    present = rows_before - int(before.get("missing") or 0), rows - int(after.get("missing") or 0)
    psi, noise, bins = population_stability(before, after, present)
    distance, off = kolmogorov_smirnov(before, after)
    new, lost, unseen = categories_moved(before, after, present)
    change = float(after.get("missing_share") or 0) - float(before.get("missing_share") or 0)
    needed = KS_CRITICAL * math.sqrt(1 / present[0] + 1 / present[1]) if min(present) > 0 else math.inf
    told = {
        "psi": psi if psi is not None and psi > noise else 0.0 if psi is not None else None,
        # What may be an error of the estimate is not called drift.
        "ks": None if distance is None else distance if distance - off > needed else 0.0,
        "missing_share": abs(change) if rows_before and rows else None,
        "unseen_share": unseen,
    }
    reasons = {name: verdict_of(name, value) for name, value in told.items() if value is not None}
    if before.get("dtype") != after.get("dtype"):
        reasons["dtype"] = MOVED
    values = [name for name in ("psi", "ks", "unseen_share") if name in reasons]
    word = max(reasons.values(), key=ORDER.index, default=UNKNOWN)
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


def verdict_of(name: str, value: float) -> str:
    """stable, moved or changed, by LIMITS."""
    moved, changed = LIMITS[name]
    return CHANGED if value >= changed else MOVED if value >= moved else STABLE


# -- population stability index -------------------------------------------------------------------------------------
def population_stability(
    before: Column, after: Column, present: tuple[int, int]
) -> tuple[float | None, float, int | None]:
    """(PSI, what it reaches by chance once in a thousand, bins): numbers over the parent's bins, else its categories.

    PSI = sum of (q - p) ln(q / p) over bins, p and q the shares of parent and child; values beyond the parent's range
    count in its outer bins' neighbours. (None, 0, None) where the reports do not say.
    """
    shares = _binned(before, after) or _categories(before, after)
    if shares is None or min(present) <= 0:
        return None, 0.0, None
    expected, actual = _joined(shares[0], shares[1], LEAST_IN_BIN / present[0])
    if len(expected) < 2:
        return (0.0 if expected == actual else None), 0.0, len(expected)
    pairs = [(max(p, FLOOR), max(q, FLOOR)) for p, q in zip(expected, actual, strict=True)]
    psi = sum((q - p) * math.log(q / p) for p, q in pairs)
    freedom = len(pairs) - 1
    part = 2 / (9 * freedom)
    chi = freedom * (1 - part + CHI_NORMAL * math.sqrt(part)) ** 3
    return psi, (1 / present[0] + 1 / present[1]) * chi, len(pairs)


def _binned(before: Column, after: Column) -> tuple[list[float], list[float]] | None:
    drawn = (before.get("numeric") or {}).get("histogram")
    other = _distribution(after)
    total = sum(drawn["counts"]) if drawn else 0
    if not drawn or other is None or not total:
        return None
    edges = drawn["edges"]
    expected = [0.0, *(count / total for count in drawn["counts"]), 0.0]
    # As np.histogram counts: a bin has its lower edge, the last one both.
    marks = [0.0, *(other.under(edge) for edge in edges[:-1]), other.upto(edges[-1]), 1.0]
    return expected, [max(0.0, high - low) for low, high in pairwise(marks)]


def _categories(before: Column, after: Column) -> tuple[list[float], list[float]] | None:
    old, new = before.get("values"), after.get("values")
    if not old or not new:
        return None
    known, now = dict(map(tuple, old)), dict(map(tuple, new))
    names = [*known, *(name for name in now if name not in known)]
    totals = sum(known.values()), sum(now.values())
    return [known.get(n, 0) / totals[0] for n in names], [now.get(n, 0) / totals[1] for n in names]


def _joined(expected: Sequence[float], actual: Sequence[float], least: float) -> tuple[list[float], list[float]]:
    """Bins with less than `least` of the parent joined to the ones behind them, the last to the one before it."""
    joined: list[list[float]] = []
    p = q = 0.0
    for share, other in zip(expected, actual, strict=True):
        p, q = p + share, q + other
        if p >= least:
            joined.append([p, q])
            p = q = 0.0
    if (p or q) and joined:
        joined[-1] = [joined[-1][0] + p, joined[-1][1] + q]
    elif p or q:
        joined.append([p, q])
    return [pair[0] for pair in joined], [pair[1] for pair in joined]


# -- Kolmogorov and Smirnov -----------------------------------------------------------------------------------------
class Distribution:
    """Which share of the values lies below a value: exact at the knots, in a straight line between them."""

    def __init__(self, at: Sequence[float], under: Sequence[float], upto: Sequence[float]) -> None:
        self.at, self.below, self.within = list(at), list(under), list(upto)
        gaps = [low - high for low, high in zip(self.below[1:], self.within[:-1], strict=True)]
        self.widest = max([0.0, *gaps])

    def under(self, value: float) -> float:
        """The share that is smaller than `value`."""
        place = bisect_left(self.at, value)
        if place < len(self.at) and self.at[place] == value:
            return self.below[place]
        return self._between(place, value)

    def upto(self, value: float) -> float:
        """The share that is not larger than `value`."""
        place = bisect_right(self.at, value)
        if place and self.at[place - 1] == value:
            return self.within[place - 1]
        return self._between(place, value)

    def _between(self, place: int, value: float) -> float:
        if place == 0:
            return 0.0
        if place == len(self.at):
            return 1.0
        low, high = self.at[place - 1], self.at[place]
        part = (value / 2 - low / 2) / (high / 2 - low / 2)
        return self.within[place - 1] + part * (self.below[place] - self.within[place - 1])


def _distribution(column: Column) -> Distribution | None:
    """From the shares below a hundred values; of an older report from its histogram, each bin spread evenly."""
    numeric = column.get("numeric") or {}
    told = numeric.get("below")
    if told:
        return Distribution(told["at"], told["under"], told["upto"])
    drawn = numeric.get("histogram")
    total = sum(drawn["counts"]) if drawn else 0
    if not drawn or not total:
        return None
    shares, seen = [0.0], 0
    for count in drawn["counts"]:
        seen += count
        shares.append(seen / total)
    return Distribution(drawn["edges"], shares, shares)


def kolmogorov_smirnov(before: Column, after: Column) -> tuple[float | None, float]:
    """(the largest distance of the two distributions, how far it may be off); (None, 0) where a report does not say."""
    one, other = _distribution(before), _distribution(after)
    if one is None or other is None:
        return None, 0.0
    knots = sorted({*one.at, *other.at})
    distance = max(max(abs(one.under(at) - other.under(at)), abs(one.upto(at) - other.upto(at))) for at in knots)
    return distance, max(one.widest, other.widest)


# -- categories -----------------------------------------------------------------------------------------------------
def categories_moved(
    before: Column, after: Column, present: tuple[int, int]
) -> tuple[list[str] | None, list[str] | None, float | None]:
    """(new, lost, the larger share of rows in one of them); None where not all categories of both are known."""
    old, new = before.get("values"), after.get("values")
    if old is None or new is None or min(present) <= 0:
        return None, None, None
    known, now = dict(map(tuple, old)), dict(map(tuple, new))
    fresh = [name for name in now if name not in known]
    lost = [name for name in known if name not in now]
    shares = sum(now[n] for n in fresh) / present[1], sum(known[n] for n in lost) / present[0]
    return fresh[:NAMED], lost[:NAMED], max(shares)
