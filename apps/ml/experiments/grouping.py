"""Group runs by experiment, param or tag, with the count and the mean, minimum and maximum of a metric per group.

Over the newest runs that fit, so that the cost has an end however many there are; an opened group shows its first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from apps.core.errors import Invalid
from apps.ml.experiments.filters.grammar import PARAMETER, TAG, Comparison
from apps.ml.experiments.filters.runs import TABLES
from apps.ml.experiments.filters.sql import Sql, fetch_rows, format_placeholders, is_postgres
from apps.ml.experiments.models import Run
from deepseek.messages import N_

GROUPED = 2000  # newest runs
GROUPS = 50  # that are shown, the largest first
OPENED = 10  # groups at once
WITHIN = 10  # runs that an opened group shows
SUMMED = "1e150"  # PostgreSQL sums squares for a mean, and refuses what they are beyond; an infinity is kept as 1.8e308
EXPERIMENT = "experiment"
KINDS = {"params.": PARAMETER, "tags.": TAG}
PARAMS, TAGS = KINDS


@dataclass(frozen=True, slots=True)
class Member:
    """A run of an opened group."""

    pk: str
    name: str
    state: str
    started_at: datetime


@dataclass(slots=True)
class Group:
    """Runs that have `value` in common; None: they have none. The figures are of the newest values of the metric."""

    value: str | None
    label: str
    runs: int
    newest: datetime
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    opened: list[Member] = field(default_factory=list)
    is_open: bool = False
    alone: str = ""  # the comparison that finds these runs alone; empty for runs without a value of their own
    experiment: int | None = None

    @property
    def key(self) -> str:
        """How the address names it: "-" is the one without a value, "=x" the one of x."""
        return "-" if self.value is None else f"={self.value}"


@dataclass(frozen=True, slots=True)
class RunGroups:
    by: str
    metric: str
    groups: Sequence[Group]
    cut: bool  # there are more runs than were looked at
    more: bool  # there are more groups than are shown
    most: int = GROUPED


def check_group(by: str) -> None:
    """Raise Invalid for what runs cannot be grouped by."""
    if by == EXPERIMENT:
        return
    head = next((head for head in KINDS if by.startswith(head)), "")
    if not head or not 0 < len(by) - len(head) <= 250 or "\x00" in by:
        raise Invalid(
            "{by!r} is nothing to group by.",
            by=by[:60],
            field="group",
            limit="experiment, params.<key>, tags.<key>",
            hint=N_("For instance group=params.optimizer."),
        )


def group_runs(runs: QuerySet[Run], by: str, metric: str, opened: Sequence[str]) -> RunGroups:
    """One query, and one for all groups that are opened. Raises Invalid for what is nothing to group by."""
    check_group(by)
    try:
        newest = build_newest_sql(runs, by, metric)
    except EmptyResultSet:  # the filter leaves none, whatever there is
        return RunGroups(by, metric, [], cut=False, more=False)
    rows = fetch_rows(build_groups_sql(newest))
    groups = [build_group(by, *row[:-1]) for row in rows[:GROUPS]]
    load_members([group for group in groups if group.key in opened[:OPENED]], newest)
    return RunGroups(by, metric, groups, cut=bool(rows) and rows[0][-1] > GROUPED, more=len(rows) > GROUPS)


def build_group(
    by: str,
    value: Any,
    label: Any,
    runs: int,
    newest: datetime | str,
    mean: float | None,
    low: float | None,
    high: float | None,
) -> Group:
    value_text = None if value is None else str(value)
    mean = mean if low is None or high is None else compute_mean(mean, low, high)
    group = Group(value_text, str(value if label is None else label), runs, parse_moment(newest), mean, low, high)
    if by == EXPERIMENT:
        group.experiment = value
    elif value_text is not None:
        head = next(head for head in KINDS if by.startswith(head))
        group.alone = str(Comparison(KINDS[head], by.removeprefix(head), "=", value_text))
    return group


def compute_mean(mean: float | None, low: float, high: float) -> float | None:
    """The mean of what could be summed; infinite where something was too large for that, none where both ends were."""
    ends = low <= -float(SUMMED), high >= float(SUMMED)
    return math.nan if all(ends) else -math.inf if ends[0] else math.inf if ends[1] else mean


def load_members(groups: Sequence[Group], newest: Sql) -> None:
    """Give the groups their first runs. One query, however many there are."""
    if not groups:
        return
    values = [group.experiment if group.experiment is not None else group.value for group in groups]
    members: dict[Any, list[Member]] = {}
    for value, pk, name, state, started in fetch_rows(build_members_sql(newest, values)):
        members.setdefault(value, []).append(Member(pk, name, state, parse_moment(started)))
    for group, value in zip(groups, values, strict=True):
        group.is_open = True
        group.opened = members.get(value, [])


def parse_moment(value: datetime | str) -> datetime:
    """A moment as a cursor gives it: SQLite keeps text, without a zone, and means UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# -- SQL ------------------------------------------------------------------------------------------------------------
def build_newest_sql(runs: QuerySet[Run], by: str, metric: str) -> Sql:
    """WITH: `found`, the newest runs that fit, one more than are grouped, and `runs`, those that are, each with its
    value, its label and what was measured. Raises EmptyResultSet where none can fit.

    Subqueries, not joins: by an index each, where PostgreSQL would read whatever has the key, of all runs there are.
    """
    rows = runs.order_by("-started_at", "-id").values_list("id", "started_at", "experiment_id")[: GROUPED + 1]
    text, params = rows.query.sql_with_params()
    value, label = build_group_value_sql(by)
    measured = Sql("CAST(NULL AS double precision)")
    if metric:
        measured = build_run_value_sql("experiments_metric", metric, " AND NOT c.is_nan")
    return Sql(
        f"WITH found (id, started_at, experiment_id) AS MATERIALIZED ({text}),"
        f" runs (id, started_at, value, label, measured) AS MATERIALIZED ("
        f"SELECT f.id, f.started_at, {value.text}, {label}, {measured.text}"
        " FROM (SELECT * FROM found ORDER BY started_at DESC, id DESC LIMIT %s) f) ",
        (*params, *value.params, *measured.params, GROUPED),
    )


def build_group_value_sql(by: str) -> tuple[Sql, str]:
    """What a run is grouped by, and the name that its group is shown by where that is another."""
    if by == EXPERIMENT:
        experiment = "FROM experiments_experiment e WHERE e.id = f.experiment_id)"
        return Sql(f"(SELECT e.number {experiment}"), f"(SELECT e.name {experiment}"
    head = next(head for head in KINDS if by.startswith(head))
    value_sql = build_run_value_sql(TABLES[KINDS[head]], by.removeprefix(head))
    # Groups of one size in one order, whatever the language of the database.
    return Sql(
        f'{value_sql.text} COLLATE "C"' if is_postgres() else value_sql.text, value_sql.params
    ), "CAST(NULL AS text)"


def build_run_value_sql(table: str, key: str, more: str = "") -> Sql:
    return Sql(f"(SELECT c.value FROM {table} c WHERE c.run_id = f.id AND c.key = %s{more})", (key,))


def build_groups_sql(newest: Sql) -> Sql:
    """(value, label, runs, the newest of them, mean, lowest, highest, how many were found in all) of each group, the
    largest first; one group more than are shown."""
    return Sql(
        f"{newest.text}SELECT value, MIN(label), COUNT(*), MAX(started_at),"
        f" AVG(CASE WHEN ABS(measured) < {SUMMED} THEN measured END), MIN(measured), MAX(measured),"
        " (SELECT COUNT(*) FROM found)"
        " FROM runs GROUP BY value ORDER BY COUNT(*) DESC, value IS NULL, value LIMIT %s",
        (*newest.params, GROUPS + 1),
    )


def build_members_sql(newest: Sql, values: Collection[Any]) -> Sql:
    """(value, key, name, state, start) of the newest runs of these groups."""
    values_present = tuple(value for value in values if value is not None)
    among = f"value IN ({format_placeholders(values_present)})" if values_present else "1=0"
    none = " OR value IS NULL" if None in values else ""
    return Sql(
        f"{newest.text}SELECT p.value, r.id, r.name, r.state, r.started_at FROM (SELECT id, value,"
        " ROW_NUMBER() OVER (PARTITION BY value ORDER BY started_at DESC, id DESC) AS place"
        f" FROM runs WHERE {among}{none}) p"
        " JOIN experiments_run r ON r.id = p.id WHERE p.place <= %s ORDER BY p.place",
        (*newest.params, *values_present, WITHIN),
    )
