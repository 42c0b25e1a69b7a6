"""What must hold of a table, read from its quality report and from that of the version it was made from. Pure.

A check fails where a job that trains on the table would drop rows or refuse it, and warns where a person should look.
A report of an older schema lacks some figures: what cannot be told is left out, never passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

OUTLIERS_LIMIT = 0.05  # of a column's rows
MEDIAN_LIMIT = 0.05  # of the interquartile range that it had before
SPREAD_LIMIT = 0.05  # of the standard deviation that it had before
NAMED = 5  # columns that a check names
NUMBERS = ("int", "uint", "float", "double", "half", "decimal")  # how Arrow calls them

Report = Mapping[str, Any]
Column = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """`before` is None where there is nothing to compare with; `form`: number, or share of one."""

    name: str
    after: float
    limit: float
    verdict: str  # pass | warn | fail
    before: float | None = None
    form: str = "number"
    at_least: bool = False
    columns: list[str] = field(default_factory=list)  # where it does not hold, or nearly not; the first few


@dataclass(frozen=True, slots=True)
class Verdicts:
    """How many checks there are of each verdict."""

    passed: int
    warned: int
    failed: int

    @property
    def total(self) -> int:
        return self.passed + self.warned + self.failed


def verdicts_of(checks: Iterable[Check]) -> Verdicts:
    told = [check.verdict for check in checks]
    return Verdicts(told.count("pass"), told.count("warn"), told.count("fail"))


def checks_of(before: Report | None, after: Report | None, params: Mapping[str, Any]) -> list[Check]:
    """Every check that the reports can answer, in the order of what matters; none without a report."""
    if after is None:
        return []
    old, new = columns_of(before), columns_of(after)
    found = [
        rows_kept(before, after),
        missing(old, new),
        counted(_("Columns without a value"), old, new, lambda column: column.get("all_missing"), "fail"),
        counted(_("Infinite values"), old, new, lambda column: numeric(column).get("infinite"), "fail"),
        whole(_("Duplicate rows"), before, after, "duplicate_rows"),
        # Not of the columns that the step itself added: flags of outliers, of which there may be none.
        counted(_("Columns of one value"), old, {key: new[key] for key in new if key in old or not old}, constant),
        counted(_("Dates out of order"), old, new, lambda column: dates(column).get("out_of_order")),
        longest_fill(old, new, params),
        outliers(old, new, after),
        moved(_("Median moved, of the interquartile range"), old, new, median_move, MEDIAN_LIMIT),
        moved(_("Standard deviation changed"), old, new, spread_move, SPREAD_LIMIT),
    ]
    return [check for check in found if check is not None]


def columns_of(report: Report | None) -> dict[str, Column]:
    return {str(column.get("name")): column for column in (report or {}).get("columns") or []}


def numeric(column: Column | None) -> Mapping[str, Any]:
    return (column or {}).get("numeric") or {}


def dates(column: Column | None) -> Mapping[str, Any]:
    return (column or {}).get("dates") or {}


def quantile(column: Column | None, which: str) -> float | None:
    value = (numeric(column).get("quantiles") or {}).get(which)
    return None if value is None else float(value)


def constant(column: Column) -> int | None:
    distinct = column.get("distinct")
    return None if distinct is None else int(distinct == 1 and not column.get("all_missing"))


# -- one check each -------------------------------------------------------------------------------------------------
def counted(
    name: str, old: Mapping[str, Column], new: Mapping[str, Column], of: Any, verdict: str = "warn"
) -> Check | None:
    """The sum of a count over all columns, which must be zero; None where no column tells it."""
    told = {key: int(value) for key, column in new.items() if (value := of(column)) is not None}
    if not told:
        return None
    earlier = [int(value) for column in old.values() if (value := of(column)) is not None]
    where = [key for key, value in told.items() if value][:NAMED]
    before = float(sum(earlier)) if earlier else None
    return Check(name, sum(told.values()), 0, verdict if where else "pass", before, columns=where)


def missing(old: Mapping[str, Column], new: Mapping[str, Column]) -> Check | None:
    """Training drops the rows of a number that is missing; a text that is missing is for a person to judge."""
    refused = any(column.get("missing") and is_number(column) for column in new.values())
    verdict = "fail" if refused else "warn"
    return counted(_("Missing values"), old, new, lambda column: column.get("missing"), verdict)


def is_number(column: Column) -> bool:
    return str(column.get("dtype")).startswith(NUMBERS)


def whole(name: str, before: Report | None, after: Report, key: str) -> Check | None:
    """A figure of the table as a whole that should be zero."""
    value = after.get(key)
    if value is None:
        return None
    return Check(name, value, 0, "warn" if value else "pass", (before or {}).get(key))


def rows_kept(before: Report | None, after: Report) -> Check | None:
    """A step that loses rows is seldom meant to."""
    if before is None or before.get("rows") is None or after.get("rows") is None:
        return None
    verdict = "pass" if after["rows"] >= before["rows"] else "warn"
    return Check(_("Rows kept"), after["rows"], before["rows"], verdict, before["rows"], at_least=True)


def longest_fill(old: Mapping[str, Column], new: Mapping[str, Column], params: Mapping[str, Any]) -> Check | None:
    """The longest run of rows that a fill by the window's median made up; beyond the window it repeats itself."""
    if params.get("fill") != "median_window" or not old:
        return None
    gaps = {
        name: int(old[name].get("longest_gap") or 0)
        for name, column in new.items()
        if name in old and numeric(column) and int(old[name].get("missing") or 0) > int(column.get("missing") or 0)
    }
    limit, longest = int(params.get("window_size") or 0), max(gaps.values(), default=0)
    where = [name for name, gap in gaps.items() if gap > limit][:NAMED]
    return Check(_("Longest run of filled rows"), longest, limit, "warn" if where else "pass", columns=where)


def outliers(old: Mapping[str, Column], new: Mapping[str, Column], after: Report) -> Check | None:
    """The worst column's share of rows beyond a robust z-score of 3.5."""

    def shares(columns: Mapping[str, Column]) -> dict[str, float]:
        counts = {name: (numeric(column).get("outliers") or {}).get("robust_z") for name, column in columns.items()}
        return {name: found["count"] / rows for name, found in counts.items() if found} if rows else {}

    rows = int(after.get("rows") or 0)
    told, earlier = shares(new), shares(old)
    if not told:
        return None
    where = sorted((name for name in told if told[name] > OUTLIERS_LIMIT), key=lambda name: -told[name])[:NAMED]
    worst, before = max(told.values()), max(earlier.values(), default=None)
    name = _("Outliers, robust z, in the worst column")
    return Check(name, worst, OUTLIERS_LIMIT, "warn" if where else "pass", before, "share", columns=where)


def moved(name: str, old: Mapping[str, Column], new: Mapping[str, Column], of: Any, limit: float) -> Check | None:
    """The largest change that the step made to a figure of a column."""
    told = {key: of(old[key], column) for key, column in new.items() if key in old}
    known = {key: value for key, value in told.items() if value is not None}
    if not known:
        return None
    where = sorted((key for key in known if known[key] > limit), key=lambda key: -known[key])[:NAMED]
    return Check(name, max(known.values()), limit, "warn" if where else "pass", None, "share", columns=where)


def median_move(before: Column, after: Column) -> float | None:
    low, middle, high, now = *(quantile(before, which) for which in ("0.25", "0.5", "0.75")), quantile(after, "0.5")
    if low is None or middle is None or high is None or now is None:
        return None
    return moved_share(now - middle, high - low)


def spread_move(before: Column, after: Column) -> float | None:
    was, now = numeric(before).get("std"), numeric(after).get("std")
    return None if was is None or now is None else moved_share(now - was, was)


def moved_share(change: float, of: float) -> float | None:
    """0 where nothing moved; None where it moved and there is nothing to measure it by."""
    if change == 0:
        return 0.0
    return abs(change) / of if of else None
