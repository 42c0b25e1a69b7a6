"""How the values of a column lie, from its quality report, and those of another version over it. Pure.

Two reports seldom have the same bins. Then both are counted into common ones, each bin spread evenly: an estimate, and
said to be one.
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
class Distribution:
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


def distribution_of(column: Column, earlier: Column | None = None, *, rows: int = 0) -> Distribution | None:
    """What there is to draw of a column, the other version's beside it; None where its report tells nothing."""
    facts: dict[str, Any] = {"name": str(column.get("name")), "dtype": str(column.get("dtype") or ""), "rows": rows}
    facts |= {"distinct": column.get("distinct")}
    for kind, bins in (("numbers", number_bins), ("dates", date_bins)):
        drawn = bins(column)
        if drawn is not None:
            edges, counts, before, estimated = overlaid(drawn, bins(earlier or {}))
            told: dict[str, Any] = {"edges": edges, "counts": counts, "before": before, "estimated": estimated}
            return Distribution(kind=kind, **facts, **told)
    top = column.get("top")
    if not top:
        return None
    rows_of = count_values(column, earlier)
    return Distribution(
        kind="values", edges=[], counts=[], top=rows_of, has_before=bool((earlier or {}).get("top")), **facts
    )


def count_values(column: Column, earlier: Column | None) -> list[tuple[str, int | None, int | None]]:
    """(value, count, count before) of the most frequent values of both reports.

    A value that a report does not name is absent if the report names all; else it is one of the rare, of unknown count.
    """
    reports = column, earlier or {}
    named = [{str(value): int(count) for value, count in one.get("top") or []} for one in reports]
    every = [{str(value): int(count) for value, count in one.get("values") or []} for one in reports]
    now, before = (names | values for names, values in zip(named, every, strict=True))
    rest, rest_before = (
        0 if len(counts) >= (one.get("distinct") or 0) else None
        for one, counts in zip(reports, (now, before), strict=True)
    )
    names = [*named[0], *(value for value in named[1] if value not in named[0])]
    return [(value, now.get(value, rest), before.get(value, rest_before) if before else None) for value in names]


Bins = tuple[list[float], list[float]]


def number_bins(column: Column) -> Bins | None:
    found = (column.get("numeric") or {}).get("histogram")
    return (list(found["edges"]), list(found["counts"])) if found else None


def date_bins(column: Column) -> Bins | None:
    found = (column.get("dates") or {}).get("histogram")
    try:
        return ([seconds(edge) for edge in found["edges"]], list(found["counts"])) if found else None
    except ValueError:  # a year that Python's calendar does not have
        return None


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def overlaid(now: Bins, before: Bins | None) -> tuple[list[float], list[float], list[float] | None, bool]:
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
    return edges, rebinned(now, edges), rebinned(before, edges), True


def rebinned(bins: Bins, edges: Sequence[float]) -> list[float]:
    """The counts of `bins` between `edges`, which hold them all; each old bin is spread evenly, and the sum stays."""
    counts = [0.0] * (len(edges) - 1)
    for (low, high), count in zip(pairwise(bins[0]), bins[1], strict=True):
        if not count:
            continue
        place = min(max(0, bisect_right(edges, low) - 1), len(counts) - 1)
        if high <= low:
            counts[place] += count
            continue
        while place < len(counts) and edges[place] < high:
            inside = min(high, edges[place + 1]) - max(low, edges[place])
            counts[place] += count * max(0.0, inside) / (high - low)
            place += 1
    return counts
