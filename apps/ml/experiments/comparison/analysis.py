"""Analyse compared runs: best values, overlapping intervals, bar charts and scatter plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.presenters import get_directions, list_figure_keys
from apps.ml.experiments.queries import ComparedRow, RunComparison, sort_by_preference
from apps.ml.experiments.ranking import TEST, list_best


@dataclass(frozen=True, slots=True)
class Cell:
    """A newest value, its interval where the run's figures have one, and how it stands to the best."""

    number: float
    is_best: bool = False
    low: float | None = None
    high: float | None = None
    change: float | None = None  # from the best
    same: bool = False  # the intervals overlap: not significant

    @property
    def known(self) -> bool:
        return self.low is not None and self.high is not None


def build_metric_rows(
    comparison: RunComparison, *, is_ranked: Callable[[str], bool] = lambda key: True
) -> list[dict[str, Any]]:
    """The metrics row by row, what was measured on held-out rows first; the best ones marked where `is_ranked`."""
    by_key = {row.key: row for row in comparison.metrics}
    directions = get_directions(comparison.runs, by_key)
    better_ends = {key: better for key, better in directions.items() if is_ranked(key)}
    intervals = [get_intervals(run) for run in comparison.runs]
    first = [key for key in list_figure_keys(comparison.runs) if key in by_key]
    return [
        build_metric_row(by_key[key], better_ends.get(key, ""), intervals)
        for key in dict.fromkeys([*first, *sort_by_preference(by_key)])
    ]


def build_metric_row(
    row: ComparedRow, better: str, intervals: Sequence[Mapping[str, tuple[float, float]]]
) -> dict[str, Any]:
    winners = list_best(row.values, better) if better else []
    best = winners[0] if winners else None
    bounds = [item.get(row.key) for item in intervals]
    of_best = next((bound for metric, bound in zip(row.values, bounds, strict=True) if metric is best), None)
    cells = [build_cell(metric, bound, best, of_best) for metric, bound in zip(row.values, bounds, strict=True)]
    return {
        "key": row.key,
        "cells": cells,
        "best": best,
        "winners": [item.run_id for item in winners],
        "better": better,
    }


def build_cell(
    metric: Metric | None, bound: tuple[float, float] | None, best: Metric | None, of_best: tuple[float, float] | None
) -> Cell | None:
    if metric is None:
        return None
    low, high = bound or (None, None)
    if best is None or metric.is_nan or metric.value == best.value:
        return Cell(metric.number, best is not None and not metric.is_nan, low, high)
    meets = bound is not None and of_best is not None and bound[0] <= of_best[1] and of_best[0] <= bound[1]
    return Cell(metric.number, False, low, high, metric.value - best.value, meets)


def get_intervals(run: Run) -> dict[str, tuple[float, float]]:
    """{metric: its interval} as the run's figures give it."""
    return {
        f"{TEST}{figure['name']}": (figure["low"], figure["high"])
        for figure in run.figures.get("metrics", [])
        if figure.get("low") is not None and figure.get("high") is not None
    }


def count_undecided(row: Mapping[str, Any]) -> int:
    """Count the runs whose interval overlaps that of the best one in this row."""
    return sum(cell is not None and cell.same for cell in row["cells"])


def build_bar_chart(row: Mapping[str, Any] | None, names: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
    """The bars of a figure that has intervals; `names` are (name, address) of the runs."""
    if row is None or not any(cell and cell.known for cell in row["cells"]):
        return None
    bars = [
        {"label": name, "url": url, "value": cell.number, "low": cell.low, "high": cell.high, "best": cell.is_best}
        for cell, (name, url) in zip(row["cells"], names, strict=True)
        if cell is not None and math.isfinite(cell.number)
    ]
    bars.sort(key=lambda bar: bar["value"], reverse=row["better"] == "higher")  # the best one first
    return {"bars": bars, "unit": row["key"].removeprefix(TEST), "id": "bars"}


# -- one against another --------------------------------------------------------------------------------------------
def get_numeric_values(comparison: RunComparison) -> dict[str, list[float | None]]:
    """{param or metric: its numbers in the order of the runs} of those that are a number for two of them at least."""
    numbers: dict[str, list[float | None]] = {}
    for row in comparison.params:
        numbers[row.key] = [parse_number(value) for value in row.values]
    for row in comparison.metrics:
        numbers[row.key] = [metric.value if metric and not metric.is_nan else None for metric in row.values]
    return {key: values for key, values in numbers.items() if sum(value is not None for value in values) > 1}


def parse_number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None and len(text) < 40 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def build_scatter(
    comparison: RunComparison, requested: tuple[str, str, str], fallback: str, names: Sequence[tuple[str, str]]
) -> dict[str, Any] | None:
    """A param or metric against another: those asked for, else `fallback` against the first that most runs have,
    params before metrics, what has one value last. The third one asked for gives the points their shade, or their sign
    where it has words.
    """
    numbers = get_numeric_values(comparison)
    differing = [row.key for row in comparison.params if row.differs and row.key in numbers]
    metrics = sort_by_preference([row.key for row in comparison.metrics if row.key in numbers])
    ys = [key for key in (requested[1], fallback, *metrics) if key in numbers]
    choice = [
        key for key in (*differing, *metrics) if ys and key != ys[0] and count_shared(numbers[key], numbers[ys[0]]) > 1
    ]
    xs = (
        [requested[0]]
        if ys and requested[0] in numbers
        else sorted(choice, key=lambda key: (is_constant(numbers[key]), -count_shared(numbers[key], numbers[ys[0]])))
    )
    if not xs or not ys:
        return None
    points: list[dict[str, Any]] = [
        {"label": name, "url": url, "x": x, "y": y, "place": place}
        for place, (x, y, (name, url)) in enumerate(zip(numbers[xs[0]], numbers[ys[0]], names, strict=True))
    ]
    words = {row.key: row.values for row in comparison.params if row.differs and row.key not in numbers}
    third = assign_shades(points, requested[2], numbers.get(requested[2]) or words.get(requested[2]))
    return {
        "third": third,
        "points": points,
        "x_unit": xs[0],
        "y_unit": ys[0],
        "log_x": has_wide_span(numbers[xs[0]]),
        "log_y": has_wide_span(numbers[ys[0]]),
        "id": "scatter",
        "xs": [*differing, *metrics],
        "ys": [*metrics, *differing],
        "zs": [*differing, *words, *metrics],
    }


SHADES = 5


def assign_shades(
    points: Sequence[dict[str, Any]], key: str, values: Sequence[float | str | None] | None
) -> dict[str, Any] | None:
    """Give each point what it is of a third quantity: `z`, with a shade from 0 to 4, or the place of its word."""
    if not key or values is None:
        return None
    words = sorted({value for value in values if isinstance(value, str)})
    numbers = [value for value in values if isinstance(value, float)]
    log = bool(numbers) and has_wide_span(numbers)
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    for point, value in zip(points, values, strict=True):
        point["z"] = value
        if isinstance(value, str):
            point["place"] = words.index(value)
        elif value is None or not numbers:
            point["place"] = None
        else:
            point["shade"] = int(compute_share(value, low, high, log=log) * (SHADES - 1e-9))
    return {"unit": key, "words": words, "low": low, "high": high}


def compute_share(value: float, low: float, high: float, *, log: bool) -> float:
    """0 at `low` to 1 at `high`."""
    if high == low:
        return 0.0
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def count_shared(first: Sequence[float | None], second: Sequence[float | None]) -> int:
    """Count the runs that have both numbers."""
    return sum(a is not None and b is not None for a, b in zip(first, second, strict=True))


def is_constant(values: Sequence[float | None]) -> bool:
    return len({value for value in values if value is not None}) == 1


def has_wide_span(values: Sequence[float | None]) -> bool:
    numbers = [value for value in values if value is not None]
    return min(numbers) > 0 and max(numbers) / min(numbers) > 30
