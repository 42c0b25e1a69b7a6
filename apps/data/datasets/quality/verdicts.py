"""Quality checks of a table, from its quality report and that of its parent version. Pure.

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
MAX_COLUMNS_NAMED = 5  # columns that a check names
NUMBERS = ("int", "uint", "float", "double", "half", "decimal")  # how Arrow calls them

Report = Mapping[str, Any]
Column = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QualityCheck:
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
class VerdictCounts:
    """Counts of checks per verdict."""

    passed: int
    warned: int
    failed: int

    @property
    def total(self) -> int:
        return self.passed + self.warned + self.failed


def count_verdicts(checks: Iterable[QualityCheck]) -> VerdictCounts:
    verdicts = [check.verdict for check in checks]
    return VerdictCounts(verdicts.count("pass"), verdicts.count("warn"), verdicts.count("fail"))


def run_checks(before: Report | None, after: Report | None, params: Mapping[str, Any]) -> list[QualityCheck]:
    """Every check that the reports can answer, in the order of what matters; none without a report."""
    if after is None:
        return []
    old, new = index_columns(before), index_columns(after)
    results = [
        check_rows_kept(before, after),
        check_missing(old, new),
        check_count(_("Columns without a value"), old, new, lambda column: column.get("all_missing"), "fail"),
        check_count(_("Infinite values"), old, new, lambda column: get_numeric(column).get("infinite"), "fail"),
        check_table_figure(_("Duplicate rows"), before, after, "duplicate_rows"),
        # Not of the columns that the step itself added: flags of outliers, of which there may be none.
        check_count(
            _("Columns of one value"), old, {key: new[key] for key in new if key in old or not old}, count_constant
        ),
        check_count(_("Dates out of order"), old, new, lambda column: get_dates(column).get("out_of_order")),
        check_longest_fill(old, new, params),
        check_outliers(old, new, after),
        check_moved(_("Median moved, of the interquartile range"), old, new, compute_median_move, MEDIAN_LIMIT),
        check_moved(_("Standard deviation changed"), old, new, compute_spread_move, SPREAD_LIMIT),
    ]
    return [check for check in results if check is not None]


def index_columns(report: Report | None) -> dict[str, Column]:
    return {str(column.get("name")): column for column in (report or {}).get("columns") or []}


def get_numeric(column: Column | None) -> Mapping[str, Any]:
    return (column or {}).get("numeric") or {}


def get_dates(column: Column | None) -> Mapping[str, Any]:
    return (column or {}).get("dates") or {}


def get_quantile(column: Column | None, which: str) -> float | None:
    value = (get_numeric(column).get("quantiles") or {}).get(which)
    return None if value is None else float(value)


def count_constant(column: Column) -> int | None:
    distinct = column.get("distinct")
    return None if distinct is None else int(distinct == 1 and not column.get("all_missing"))


# -- one check each -------------------------------------------------------------------------------------------------
def check_count(
    name: str, old: Mapping[str, Column], new: Mapping[str, Column], count: Any, verdict: str = "warn"
) -> QualityCheck | None:
    """The sum of a count over all columns, which must be zero; None where no column tells it."""
    counts = {key: int(value) for key, column in new.items() if (value := count(column)) is not None}
    if not counts:
        return None
    earlier = [int(value) for column in old.values() if (value := count(column)) is not None]
    offenders = [key for key, value in counts.items() if value][:MAX_COLUMNS_NAMED]
    before = float(sum(earlier)) if earlier else None
    return QualityCheck(name, sum(counts.values()), 0, verdict if offenders else "pass", before, columns=offenders)


def check_missing(old: Mapping[str, Column], new: Mapping[str, Column]) -> QualityCheck | None:
    """Training drops the rows of a number that is missing; a text that is missing is for a person to judge."""
    refused = any(column.get("missing") and is_number(column) for column in new.values())
    verdict = "fail" if refused else "warn"
    return check_count(_("Missing values"), old, new, lambda column: column.get("missing"), verdict)


def is_number(column: Column) -> bool:
    return str(column.get("dtype")).startswith(NUMBERS)


def check_table_figure(name: str, before: Report | None, after: Report, key: str) -> QualityCheck | None:
    """Check a figure of the table that should be zero."""
    value = after.get(key)
    if value is None:
        return None
    return QualityCheck(name, value, 0, "warn" if value else "pass", (before or {}).get(key))


def check_rows_kept(before: Report | None, after: Report) -> QualityCheck | None:
    """Warn if the step lost rows, which is seldom intended."""
    if before is None or before.get("rows") is None or after.get("rows") is None:
        return None
    verdict = "pass" if after["rows"] >= before["rows"] else "warn"
    return QualityCheck(_("Rows kept"), after["rows"], before["rows"], verdict, before["rows"], at_least=True)


def check_longest_fill(
    old: Mapping[str, Column], new: Mapping[str, Column], params: Mapping[str, Any]
) -> QualityCheck | None:
    """The longest run of rows that a fill by the window's median made up; beyond the window it repeats itself."""
    if params.get("fill") != "median_window" or not old:
        return None
    gaps = {
        name: int(old[name].get("longest_gap") or 0)
        for name, column in new.items()
        if name in old and get_numeric(column) and int(old[name].get("missing") or 0) > int(column.get("missing") or 0)
    }
    limit, longest = int(params.get("window_size") or 0), max(gaps.values(), default=0)
    offenders = [name for name, gap in gaps.items() if gap > limit][:MAX_COLUMNS_NAMED]
    return QualityCheck(
        _("Longest run of filled rows"), longest, limit, "warn" if offenders else "pass", columns=offenders
    )


def check_outliers(old: Mapping[str, Column], new: Mapping[str, Column], after: Report) -> QualityCheck | None:
    """The worst column's share of rows beyond a robust z-score of 3.5."""

    def compute_shares(columns: Mapping[str, Column]) -> dict[str, float]:
        counts = {name: (get_numeric(column).get("outliers") or {}).get("robust_z") for name, column in columns.items()}
        return (
            {name: outlier_count["count"] / rows for name, outlier_count in counts.items() if outlier_count}
            if rows
            else {}
        )

    rows = int(after.get("rows") or 0)
    shares_by_column, earlier = compute_shares(new), compute_shares(old)
    if not shares_by_column:
        return None
    offenders = sorted(
        (name for name in shares_by_column if shares_by_column[name] > OUTLIERS_LIMIT),
        key=lambda name: -shares_by_column[name],
    )[:MAX_COLUMNS_NAMED]
    worst, before = max(shares_by_column.values()), max(earlier.values(), default=None)
    name = _("Outliers, robust z, in the worst column")
    return QualityCheck(
        name, worst, OUTLIERS_LIMIT, "warn" if offenders else "pass", before, "share", columns=offenders
    )


def check_moved(
    name: str, old: Mapping[str, Column], new: Mapping[str, Column], measure: Any, limit: float
) -> QualityCheck | None:
    """The largest change that the step made to a figure of a column."""
    moves = {key: measure(old[key], column) for key, column in new.items() if key in old}
    measured = {key: value for key, value in moves.items() if value is not None}
    if not measured:
        return None
    offenders = sorted((key for key in measured if measured[key] > limit), key=lambda key: -measured[key])[
        :MAX_COLUMNS_NAMED
    ]
    return QualityCheck(
        name, max(measured.values()), limit, "warn" if offenders else "pass", None, "share", columns=offenders
    )


def compute_median_move(before: Column, after: Column) -> float | None:
    low, middle, high, now = (
        *(get_quantile(before, which) for which in ("0.25", "0.5", "0.75")),
        get_quantile(after, "0.5"),
    )
    if low is None or middle is None or high is None or now is None:
        return None
    return compute_moved_share(now - middle, high - low)


def compute_spread_move(before: Column, after: Column) -> float | None:
    before_std, after_std = get_numeric(before).get("std"), get_numeric(after).get("std")
    return None if before_std is None or after_std is None else compute_moved_share(after_std - before_std, before_std)


def compute_moved_share(change: float, of: float) -> float | None:
    """0 where nothing moved; None where it moved and there is nothing to measure it by."""
    if change == 0:
        return 0.0
    return abs(change) / of if of else None
