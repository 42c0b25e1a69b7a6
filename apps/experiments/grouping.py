"""Runs by what they have in common: experiment, a param or a tag; how many, and a metric's mean and ends in each group.

Over the newest runs that fit, so that the cost has an end however many there are; an opened group shows its first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, models
from django.db.models import QuerySet, Value
from django.db.models.expressions import RawSQL

from apps.errors import Invalid
from apps.experiments.filters.grammar import PARAMETER, TAG, Comparison
from apps.experiments.models import Metric, Run, RunParam, RunTag

GROUPED = 5000  # newest runs
GROUPS = 100  # that are shown, the largest first
OPENED = 10  # groups at once
WITHIN = 10  # runs that an opened group shows
EXPERIMENT, PARAMS, TAGS = "experiment", "params.", "tags."
KINDS: dict[str, tuple[type[models.Model], str]] = {PARAMS: (RunParam, PARAMETER), TAGS: (RunTag, TAG)}


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
    head = next((head for head in KINDS if by.startswith(head)), "")
    if not head or not 0 < len(by) - len(head) <= 250 or "\x00" in by:
        raise Invalid(
            f"{by[:60]!r} is nothing to group by.",
            field="group",
            limit="experiment, params.<key>, tags.<key>",
            hint="For instance group=params.optimizer.",
        )


def group_runs(found: QuerySet[Run], by: str, metric: str, opened: Sequence[str]) -> Grouped:
    """Two queries, and one for all groups that are opened. The rows are put together here: joined by the database,
    five thousand runs would be read again for each."""
    check_group(by)
    columns = ("pk", "started_at", "experiment__number", "experiment__name")
    rows = list(found.order_by("-started_at", "-id").values_list(*columns)[: GROUPED + 1])
    runs = rows[:GROUPED]
    ids = [row[0] for row in runs]
    common, numbers = told_of(by, metric, ids)
    if by == EXPERIMENT:
        common = {row[0]: row[2] for row in runs}
    members: dict[Any, list[Any]] = {}
    for row in runs:
        members.setdefault(common.get(row[0]), []).append(row)
    ordered = sorted(members.items(), key=lambda item: (-len(item[1]), item[0] is None, item[0]))
    groups = [group_of(by, value, held, numbers) for value, held in ordered[:GROUPS]]
    open_up([(group, held) for group, (_, held) in zip(groups, ordered, strict=False) if group.key in opened[:OPENED]])
    return Grouped(by, metric, groups, cut=len(rows) > GROUPED, more=len(ordered) > GROUPS)


def told_of(by: str, metric: str, ids: Sequence[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """({run: its value of the param or tag}, {run: the newest value of the metric}) of those that have one that is a
    number; one query for both."""
    head = next((head for head in KINDS if by.startswith(head)), None)
    asked: list[Any] = []
    if head is not None:
        rows = KINDS[head][0]._default_manager.filter(run__in=packed(ids), key=by.removeprefix(head)).order_by()
        asked.append(rows.values_list("run_id", "value", Value(None, models.FloatField())))
    if metric:
        measured = Metric.objects.filter(run__in=packed(ids), key=metric, is_nan=False).order_by()
        asked.append(measured.values_list("run_id", Value(None, models.TextField()), "value"))
    common, numbers = dict[str, Any](), dict[str, float]()
    for run, value, number in asked[0].union(*asked[1:], all=True) if asked else ():
        if number is None:
            common[run] = value
        else:
            numbers[run] = number
    return common, numbers


def packed(ids: Sequence[str]) -> RawSQL:
    """These keys in one parameter: five thousand of them are parsed and planned for longer than they are sought."""
    if connection.vendor == "postgresql":
        return RawSQL("SELECT unnest(%s::varchar[])", (list(ids),))
    return RawSQL("SELECT value FROM json_each(%s)", (json.dumps(list(ids)),))


def open_up(groups: Sequence[tuple[Group, Sequence[Any]]]) -> None:
    """Give the groups their first runs."""
    if not groups:
        return
    ids = {row[0] for _, held in groups for row in held[:WITHIN]}
    runs = {run.pk: run for run in Run.objects.filter(pk__in=ids).select_related("experiment")}
    for group, held in groups:
        group.is_open = True
        group.opened = [runs[row[0]] for row in held[:WITHIN] if row[0] in runs]


def group_of(by: str, value: Any, held: Sequence[Any], numbers: Mapping[str, float]) -> Group:
    """The group of the runs `held`, newest first."""
    told = [numbers[row[0]] for row in held if row[0] in numbers]
    figures = {"mean": sum(told) / len(told), "low": min(told), "high": max(told)} if told else {}
    label = held[0][3] if by == EXPERIMENT else str(value)
    group = Group(None if value is None else str(value), label, len(held), held[0][1], **figures)
    if by == EXPERIMENT:
        group.experiment = value
    elif value is not None:
        head = next(head for head in KINDS if by.startswith(head))
        group.alone = str(Comparison(KINDS[head][1], by.removeprefix(head), "=", group.value))
    return group
