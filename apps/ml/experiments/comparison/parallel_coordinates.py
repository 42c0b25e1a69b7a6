"""Parallel coordinates of the compared runs: one axis for each param or metric, one line for each run.

What a reader wants of it stands in the address: `axis` names the axes, `min:<axis>` and `max:<axis>` bound one of
numbers, `is:<axis>` picks one word of an axis of words. A run outside of any of these is drawn faint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from apps.core.errors import Invalid
from apps.ml.experiments.comparison.analysis import has_wide_span, parse_number
from apps.ml.experiments.metrics.series import is_system
from apps.ml.experiments.queries import RunComparison, sort_by_preference
from deepseek.messages import N_

AXES = 8  # beside each other: more are too near to be followed
FIRST = 6  # axes before anybody has chosen
OFFERED = 60
OWN = ("axis", "min:", "max:", "is:")  # of the address; the last three stand before the name of an axis


@dataclass(frozen=True, slots=True)
class Axis:
    """One param or metric of all runs, in their order: numbers, or words where one of them is no number."""

    key: str
    values: Sequence[float | str | None]
    words: Sequence[str] = ()  # in their order on the axis; empty: it is of numbers
    log: bool = False
    low: float | None = None
    high: float | None = None
    only: str = ""

    @property
    def is_bounded(self) -> bool:
        return self.low is not None or self.high is not None or bool(self.only)

    def is_in_range(self, value: float | str | None) -> bool:
        """Whether a run with this value is within the range; one without a value is within no range."""
        if not self.is_bounded:
            return True
        if value is None:
            return False
        if isinstance(value, str):
            return value == self.only
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def build_parallel_chart(
    comparison: RunComparison, query: QueryDict, best: str, names: Sequence[tuple[str, str]]
) -> dict[str, Any] | None:
    """The chart that the query asks for; None where fewer than two things differ. Raises Invalid for nonsense.

    `best`: the metric that says which run is best; `names` are (name, address) of the runs.
    """
    columns = get_differing_columns(comparison)
    if len(columns) < 2:
        return None
    axes = [build_axis(key, columns[key], query) for key in select_axes(comparison, query, columns, best)]
    inside = [all(axis.is_in_range(axis.values[place]) for axis in axes) for place in range(len(comparison.runs))]
    inside_ids = [run.pk for run, is_inside in zip(comparison.runs, inside, strict=True) if is_inside]
    return {
        "axes": axes,
        "lines": [
            {"label": name, "url": url, "inside": is_inside, "place": place}
            for place, ((name, url), is_inside) in enumerate(zip(names, inside, strict=True))
        ],
        "offered": [{"key": key, "shown": any(axis.key == key for axis in axes)} for key in [*columns][:OFFERED]],
        "bounded": any(axis.is_bounded for axis in axes),
        "inside": len(inside_ids),
        "kept": ",".join(inside_ids) if 2 <= len(inside_ids) < len(inside) else "",
        "id": "parallel",
    }


def get_differing_columns(comparison: RunComparison) -> dict[str, list[float | str | None]]:
    """{param or metric: its values in the order of the runs} of those that differ; params first, the machine last."""
    columns: dict[str, list[float | str | None]] = {}
    for row in comparison.params:
        if row.differs:
            columns[row.key] = convert_values(row.values)
    metrics = {row.key: row for row in comparison.metrics}
    for key in sort_by_preference(metrics):
        values: list[float | str | None] = [
            metric.value if metric and not metric.is_nan and math.isfinite(metric.value) else None
            for metric in metrics[key].values
        ]
        if len({value for value in values if value is not None}) > 1:
            columns[key] = values
    return dict(sorted(columns.items(), key=lambda item: is_system(item[0])))


def convert_values(texts: Sequence[str | None]) -> list[float | str | None]:
    """The numbers that a param has, or its words: where one of them is no number all are words."""
    numbers = [parse_number(text) for text in texts]
    are_numbers = [number is not None for number, text in zip(numbers, texts, strict=True) if text is not None]
    return list(numbers) if all(are_numbers) else list(texts)


def select_axes(comparison: RunComparison, query: QueryDict, columns: Mapping[str, Any], best: str) -> list[str]:
    """The axes that are asked for, else the params that differ with the metric that counts at the end."""
    requested = list(dict.fromkeys(key for key in query.getlist("axis") if key))
    if wrong := next((key for key in requested if key not in columns), None):
        raise Invalid(
            "{wrong!r} does not differ between these runs.",
            wrong=wrong[:60],
            field="axis",
            limit=", ".join([*columns][:20]),
            hint=N_("Take two to eight of these."),
        )
    if requested and not 2 <= len(requested) <= AXES:
        raise Invalid(
            "{count} axes are named.",
            count=len(requested),
            field="axis",
            limit=f"2 to {AXES}",
            hint=N_("Take some of them."),
        )
    if requested:
        return requested
    params = [row.key for row in comparison.params if row.key in columns][: FIRST - 2]
    metrics = [key for key in columns if key not in params and not is_system(key)]
    other_metrics = [key for key in metrics if key != best and not any(row.key == key for row in comparison.params)]
    last = [best] if best in columns else []
    picked = [*params, *other_metrics[: max(0, FIRST - len(params) - len(last))], *last]
    return picked if len(picked) > 1 else [*columns][:2]


def build_axis(key: str, values: Sequence[float | str | None], query: QueryDict) -> Axis:
    words = sorted({value for value in values if isinstance(value, str)})
    if words:
        return Axis(key, values, words, only=query.get(f"is:{key}", "")[:500])
    low, high = (parse_bound(query, f"{end}:{key}") for end in ("min", "max"))
    if low is not None and high is not None and low > high:
        raise Invalid(
            "{low:g} is greater than {high:g}.", low=low, high=high, field=f"min:{key}", limit=f"at most {high:g}"
        )
    numbers = [value for value in values if isinstance(value, float)]
    return Axis(key, values, log=bool(numbers) and has_wide_span(numbers), low=low, high=high)


def parse_bound(query: QueryDict, name: str) -> float | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    number = parse_number(text)
    if number is None:
        raise Invalid(
            "{text!r} is no number.", text=text[:40], field=name[:80], limit="a number", hint=N_("For instance 0.001.")
        )
    return number


def list_kept_params(query: QueryDict) -> list[tuple[str, str]]:
    """What the form of the axes carries on of the address."""
    return [(key, value) for key in query if not key.startswith(OWN) for value in query.getlist(key)]
