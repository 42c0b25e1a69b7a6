"""Runs by what they have in common: experiment, a param or a tag; how many, and a metric's mean and ends in each group.

Over the newest runs that fit, so that the cost has an end however many there are; an opened group shows its first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Avg, Count, F, FilteredRelation, Max, Min, Q, QuerySet

from apps.errors import Invalid
from apps.experiments.filters.grammar import PARAMETER, TAG, Comparison
from apps.experiments.models import Run

GROUPED = 5000  # newest runs
GROUPS = 100  # that are shown, the largest first
OPENED = 10  # groups at once
WITHIN = 10  # runs that an opened group shows
EXPERIMENT, PARAMS, TAGS = "experiment", "params.", "tags."
RELATIONS = {PARAMS: ("params", PARAMETER), TAGS: ("tags", TAG)}


@dataclass(slots=True)
class Group:
    """Runs that have `value` in common; None: they have none. The figures are of the newest values of the metric."""

    value: str | None
    label: str
    runs: int
    newest: Any
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    opened: list[Run] = field(default_factory=list)
    is_open: bool = False
    alone: str = ""  # the comparison that finds these runs alone; empty for runs without a value of their own
    experiment: int | None = None

    @property
    def key(self) -> str:
        """How the address names it: "-" is the one without a value, "=x" the one of x."""
        return "-" if self.value is None else f"={self.value}"


@dataclass(frozen=True, slots=True)
class Grouped:
    by: str
    metric: str
    groups: Sequence[Group]
    cut: bool  # there are more runs than were looked at
    more: bool  # there are more groups than are shown


def check_group(by: str) -> None:
    """Raise Invalid for what runs cannot be grouped by."""
    if by == EXPERIMENT:
        return
    head = next((head for head in RELATIONS if by.startswith(head)), "")
    if not head or not 0 < len(by) - len(head) <= 250 or "\x00" in by:
        raise Invalid(
            f"{by[:60]!r} is nothing to group by.",
            field="group",
            limit="experiment, params.<key>, tags.<key>",
            hint="For instance group=params.optimizer.",
        )


def group_runs(found: QuerySet[Run], by: str, metric: str, opened: Sequence[str]) -> Grouped:
    """Two queries, and one for each group that is opened."""
    check_group(by)
    ids = list(found.order_by("-started_at", "-id").values_list("pk", flat=True)[: GROUPED + 1])
    runs, value = valued(Run.objects.filter(pk__in=ids[:GROUPED]), by)
    columns = {"group": F(value)} | ({"said": F("experiment__name")} if by == EXPERIMENT else {})
    counted = with_figures(runs.values(**columns), metric)
    rows = list(counted.order_by("-runs", "group")[: GROUPS + 1])
    groups = [group_of(row, by) for row in rows[:GROUPS]]
    for group in groups:
        if group.key in opened[:OPENED]:
            group.is_open = True
            within = runs.filter(**({f"{value}__isnull": True} if group.value is None else {value: group.value}))
            group.opened = list(within.select_related("experiment").order_by("-started_at", "-id")[:WITHIN])
    return Grouped(by, metric, groups, cut=len(ids) > GROUPED, more=len(rows) > GROUPS)


def valued(runs: QuerySet[Run], by: str) -> tuple[QuerySet[Run], str]:
    """The runs, and the column that holds what they are grouped by."""
    if by == EXPERIMENT:
        return runs, "experiment__number"
    head = next(head for head in RELATIONS if by.startswith(head))
    relation = RELATIONS[head][0]
    only = Q(**{f"{relation}__key": by.removeprefix(head)})
    return runs.alias(common=FilteredRelation(relation, condition=only)), "common__value"


def with_figures(rows: Any, metric: str) -> Any:
    counted = rows.annotate(runs=Count("pk"), newest=Max("started_at"))
    if not metric:
        return counted
    only = Q(metrics__key=metric, metrics__is_nan=False)
    told = counted.alias(told=FilteredRelation("metrics", condition=only))
    return told.annotate(mean=Avg("told__value"), low=Min("told__value"), high=Max("told__value"))


def group_of(row: dict[str, Any], by: str) -> Group:
    value = row["group"]
    told = {name: row.get(name) for name in ("mean", "low", "high")}
    label = str(row.get("said", value))
    group = Group(None if value is None else str(value), label, row["runs"], row["newest"], **told)
    if by == EXPERIMENT:
        group.experiment = value
    elif value is not None:
        head = next(head for head in RELATIONS if by.startswith(head))
        group.alone = str(Comparison(RELATIONS[head][1], by.removeprefix(head), "=", group.value))
    return group
