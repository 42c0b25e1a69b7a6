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
from apps.ml.experiments.comparison.analysis import number_in, spans_much
from apps.ml.experiments.metrics.series import is_system
from apps.ml.experiments.queries import Comparison, preferred
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

    def holds(self, value: float | str | None) -> bool:
        """Whether a run with this value is within the range; one without a value is within no range."""
        if not self.is_bounded:
            return True
        if value is None:
            return False
        if isinstance(value, str):
            return value == self.only
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


def parallel_of(
    comparison: Comparison, query: QueryDict, best: str, names: Sequence[tuple[str, str]]
) -> dict[str, Any] | None:
    """The chart that the query asks for; None where fewer than two things differ. Raises Invalid for nonsense.

    `best`: the metric that says which run is best; `names` are (name, address) of the runs.
    """
    known = columns_of(comparison)
    if len(known) < 2:
        return None
    axes = [axis_of(key, known[key], query) for key in chosen(comparison, query, known, best)]
    inside = [all(axis.holds(axis.values[place]) for axis in axes) for place in range(len(comparison.runs))]
    kept = [run.pk for run, held in zip(comparison.runs, inside, strict=True) if held]
    return {
        "axes": axes,
        "lines": [
            {"label": name, "url": url, "inside": held, "place": place}
            for place, ((name, url), held) in enumerate(zip(names, inside, strict=True))
        ],
        "offered": [{"key": key, "shown": any(axis.key == key for axis in axes)} for key in [*known][:OFFERED]],
        "bounded": any(axis.is_bounded for axis in axes),
        "inside": len(kept),
        "kept": ",".join(kept) if 2 <= len(kept) < len(inside) else "",
        "id": "parallel",
    }


def columns_of(comparison: Comparison) -> dict[str, list[float | str | None]]:
    """{param or metric: its values in the order of the runs} of those that differ; params first, the machine last."""
    found: dict[str, list[float | str | None]] = {}
    for row in comparison.params:
        if row.differs:
            found[row.key] = values_of(row.values)
    metrics = {row.key: row for row in comparison.metrics}
    for key in preferred(metrics):
        values: list[float | str | None] = [
            metric.value if metric and not metric.is_nan and math.isfinite(metric.value) else None
            for metric in metrics[key].values
        ]
        if len({value for value in values if value is not None}) > 1:
            found[key] = values
    return dict(sorted(found.items(), key=lambda item: is_system(item[0])))


def values_of(texts: Sequence[str | None]) -> list[float | str | None]:
    """The numbers that a param has, or its words: where one of them is no number all are words."""
    numbers = [number_in(text) for text in texts]
    told = [number is not None for number, text in zip(numbers, texts, strict=True) if text is not None]
    return list(numbers) if all(told) else list(texts)


def chosen(comparison: Comparison, query: QueryDict, known: Mapping[str, Any], best: str) -> list[str]:
    """The axes that are asked for, else the params that differ with the metric that counts at the end."""
    asked = list(dict.fromkeys(key for key in query.getlist("axis") if key))
    if wrong := next((key for key in asked if key not in known), None):
        raise Invalid(
            "{wrong!r} does not differ between these runs.",
            wrong=wrong[:60],
            field="axis",
            limit=", ".join([*known][:20]),
            hint=N_("Take two to eight of these."),
        )
    if asked and not 2 <= len(asked) <= AXES:
        raise Invalid(
            "{count} axes are named.",
            count=len(asked),
            field="axis",
            limit=f"2 to {AXES}",
            hint=N_("Take some of them."),
        )
    if asked:
        return asked
    params = [row.key for row in comparison.params if row.key in known][: FIRST - 2]
    metrics = [key for key in known if key not in params and not is_system(key)]
    others = [key for key in metrics if key != best and not any(row.key == key for row in comparison.params)]
    last = [best] if best in known else []
    picked = [*params, *others[: max(0, FIRST - len(params) - len(last))], *last]
    return picked if len(picked) > 1 else [*known][:2]


def axis_of(key: str, values: Sequence[float | str | None], query: QueryDict) -> Axis:
    words = sorted({value for value in values if isinstance(value, str)})
    if words:
        return Axis(key, values, words, only=query.get(f"is:{key}", "")[:500])
    low, high = (bound_of(query, f"{end}:{key}") for end in ("min", "max"))
    if low is not None and high is not None and low > high:
        raise Invalid(
            "{low:g} is greater than {high:g}.", low=low, high=high, field=f"min:{key}", limit=f"at most {high:g}"
        )
    numbers = [value for value in values if isinstance(value, float)]
    return Axis(key, values, log=bool(numbers) and spans_much(numbers), low=low, high=high)


def bound_of(query: QueryDict, name: str) -> float | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    number = number_in(text)
    if number is None:
        raise Invalid(
            "{text!r} is no number.", text=text[:40], field=name[:80], limit="a number", hint=N_("For instance 0.001.")
        )
    return number


def kept(query: QueryDict) -> list[tuple[str, str]]:
    """What the form of the axes carries on of the address."""
    return [(key, value) for key in query if not key.startswith(OWN) for value in query.getlist(key)]
