"""Distribution of a column's values from its quality report, overlaid with another version's. Pure.

Two reports seldom have the same bins. Then both are resampled into common ones, assuming a uniform spread within each
bin; the result is marked as an estimate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

BINS = 20

Column = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDistribution:
    """`kind`: numbers, dates (edges in seconds since 1970), or values (`top`: the most frequent
    of both versions as (value, count, count before); a count is None where a report does not have it)."""

    name: str
    dtype: str
    kind: str
    edges: list[float]
    counts: list[float]
    before: list[float] | None = None
    estimated: bool = False
    top: list[tuple[str, int | None, int | None]] | None = None
    has_before: bool = False  # `top` holds the counts of the other version
    distinct: int | None = None
    rows: int = 0
    drift: Any = None  # from the other version, with its verdict: apps/data/datasets/quality/drift.py

    @property
    def listed(self) -> int:
        """How many of the values that this version has are in `top`."""
        return sum(bool(count) for _value, count, _before in self.top or [])


def build_distribution(column: Column, earlier: Column | None = None, *, rows: int = 0) -> ColumnDistribution | None:
    """The distribution of a column, with the other version's beside it; None if the report has none."""
    facts: dict[str, Any] = {"name": str(column.get("name")), "dtype": str(column.get("dtype") or ""), "rows": rows}
    facts |= {"distinct": column.get("distinct")}
    for kind, bins in (("numbers", read_number_bins), ("dates", read_date_bins)):
        own_bins = bins(column)
        if own_bins is not None:
            edges, counts, before, estimated = merge_bins(own_bins, bins(earlier or {}))
            bin_fields: dict[str, Any] = {"edges": edges, "counts": counts, "before": before, "estimated": estimated}
            return ColumnDistribution(kind=kind, **facts, **bin_fields)
    top = column.get("top")
    if not top:
        return None
    rows_of = count_values(column, earlier)
    return ColumnDistribution(
        kind="values", edges=[], counts=[], top=rows_of, has_before=bool((earlier or {}).get("top")), **facts
    )


def count_values(column: Column, earlier: Column | None) -> list[tuple[str, int | None, int | None]]:
    """(value, count, count before) of the most frequent values of both reports.

    A value that a report does not name is absent if the report names all; else it is one of the rare, of unknown count.
    """
    reports = column, earlier or {}
    top_counts = [{str(value): int(count) for value, count in report.get("top") or []} for report in reports]
    all_counts = [{str(value): int(count) for value, count in report.get("values") or []} for report in reports]
    now, before = (names | values for names, values in zip(top_counts, all_counts, strict=True))
    rest, rest_before = (
        0 if len(counts) >= (report.get("distinct") or 0) else None
        for report, counts in zip(reports, (now, before), strict=True)
    )
    names = [*top_counts[0], *(value for value in top_counts[1] if value not in top_counts[0])]
    return [(value, now.get(value, rest), before.get(value, rest_before) if before else None) for value in names]


Bins = tuple[list[float], list[float]]


def read_number_bins(column: Column) -> Bins | None:
    histogram = (column.get("numeric") or {}).get("histogram")
    return (list(histogram["edges"]), list(histogram["counts"])) if histogram else None


def read_date_bins(column: Column) -> Bins | None:
    histogram = (column.get("dates") or {}).get("histogram")
    try:
        return ([parse_seconds(edge) for edge in histogram["edges"]], list(histogram["counts"])) if histogram else None
    except ValueError:  # a year that Python's calendar does not have
        return None


def parse_seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def merge_bins(now: Bins, before: Bins | None) -> tuple[list[float], list[float], list[float] | None, bool]:
    """(edges, counts, counts before, whether they are estimates) on one axis."""
    if before is None:
        return *now, None, False
    if now[0] == before[0]:
        return *now, before[1], False
    low, high = min(now[0][0], before[0][0]), max(now[0][-1], before[0][-1])
    width = (high - low) / BINS
    if not math.isfinite(width) or width <= 0:
        return *now, None, False
    edges = [low + width * place for place in range(BINS)] + [high]
    return edges, resample_bins(now, edges), resample_bins(before, edges), True


def resample_bins(bins: Bins, edges: Sequence[float]) -> list[float]:
    """The counts of `bins` between `edges`, which hold them all; each old bin is spread evenly, and the sum stays."""
    counts = [0.0] * (len(edges) - 1)
    for (low, high), count in zip(pairwise(bins[0]), bins[1], strict=True):
        if not count:
            continue
        index = min(max(0, bisect_right(edges, low) - 1), len(counts) - 1)
        if high <= low:
            counts[index] += count
            continue
        while index < len(counts) and edges[index] < high:
            inside = min(high, edges[index + 1]) - max(low, edges[index])
            counts[index] += count * max(0.0, inside) / (high - low)
            index += 1
    return counts
