"""Lines over steps, drawn on the server: axes, values on hover and by keyboard, the same numbers as a table.

`{% load charts %}`. A chart is a mapping: `series` (a list of {label, points}, points being (step, value or None)),
`x_unit`, `y_unit`, `log`, `csv` (an address), `note`, and `id` where a page has more than one. Eight lines at most are
told apart: four strokes, each with a mark of its own, full and hollow.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from controlplane.templatetags.drawing import LEVEL, TICK, plain
from controlplane.templatetags.formats import number

register = template.Library()

COLUMNS = 32  # places along the axis that tell their values
FEWEST = 8  # points of a line whose steps are worth telling
MARKS = 4  # marks on one line
STROKES = 4
SHAPES = (
    '<circle r="4.5" class="mk{0}"/>',
    '<rect x="-4" y="-4" width="8" height="8" class="mk{0}"/>',
    '<path d="M0-5.5 5.2 4H-5.2z" class="mk{0}"/>',
    '<path d="M0-5.5 5.5 0 0 5.5-5.5 0z" class="mk{0}"/>',
)
LINE_HEIGHT = 16  # px, of a tip
HUGE = 1e100  # beyond it an axis with its margin would leave the numbers that there are; such a value is a gap

Points = Sequence[tuple[float, float | None]]


class Scale:
    """From a value to per cent of the axis; a logarithmic one knows no value of zero or below."""

    def __init__(self, values: Iterable[float], *, log: bool = False, pad: float = 0.0) -> None:
        self.log = log
        known = [self.raw(value) for value in values if self.holds(value)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = (high - low) * pad or (0.0 if high > low else abs(low) * 0.1 or 1.0)
        self.low, self.high = low - room, high + room

    def holds(self, value: float | None) -> bool:
        return value is not None and abs(value) < HUGE and (not self.log or value > 0)

    def raw(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def share(self, value: float) -> float:
        """0 at the low end, 100 at the high one."""
        return (self.raw(value) - self.low) / (self.high - self.low) * 100

    def ticks(self, *, whole: bool = False) -> list[tuple[float, float]]:
        """About five round values on the axis: (per cent, value)."""
        if self.log and self.high - self.low >= 0.7:
            first, last = math.floor(self.low), math.ceil(self.high)
            every, parts = max(1, (last - first) // 6), (1, 2, 5) if last - first <= 3 else (1,)
            values = [part * 10.0**power for power in range(first, last + 1, every) for part in parts]
        else:
            low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
            step = round_step(high - low, whole=whole)
            values = [step * count for count in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
        places = [(self.share(value), value) for value in values if self.holds(value)]
        return [(place, value) for place, value in places if -1e-6 <= place <= 100 + 1e-6]


def round_step(span: float, *, whole: bool = False) -> float:
    """1, 2 or 5 times a power of ten that parts the span in three to seven; whole numbers are wide, so in five."""
    size, most = 10.0 ** math.floor(math.log10(span / 5)), 5 if whole else 7
    step = next(size * part for part in (1, 2, 5, 10) if span / (size * part) <= most)
    return max(1.0, step) if whole else step


# -- the drawing ----------------------------------------------------------------------------------------------------
def line_svg(
    series: Sequence[Mapping[str, Any]],
    *,
    x_unit: str = "",
    y_unit: str = "",
    log: bool = False,
    name: str = "chart",
) -> SafeString:
    """The whole drawing. Points are (step, value); a value that is None or that the axis does not hold is a gap."""
    across, up = scales(series, log=log)
    lines = format_html_join(
        "",
        '<path class="ln k{}" d="{}"/>',
        ((place % STROKES + 1, path(one["points"], across, up)) for place, one in enumerate(series)),
    )
    return format_html(
        '<svg>{}{}<line class="ax" x2="100%" y1="100%" y2="100%"/><text x="-44" y="0" dy="-14">{}</text>'
        '<text x="100%" y="100%" dy="33" text-anchor="end">{}</text>'
        '<svg class="plot" viewBox="0 0 1000 1000" preserveAspectRatio="none">{}</svg>{}{}</svg>',
        format_html_join("", LEVEL, ((plain(100 - at), number(value)) for at, value in up.ticks())),
        format_html_join(
            "",
            TICK,
            ((plain(at), "end" if at > 98 else "middle", number(int(value))) for at, value in across.ticks(whole=True)),
        ),
        y_unit,
        x_unit,
        lines,
        format_html_join("", "{}", ((marks(place, one["points"], across, up),) for place, one in enumerate(series))),
        format_html_join("", "{}", ((column,) for column in columns(series, across, up, x_unit, name))),
    )


def scales(series: Sequence[Mapping[str, Any]], *, log: bool) -> tuple[Scale, Scale]:
    up = Scale((value for one in series for _, value in one["points"] if value is not None), log=log, pad=0.04)
    return Scale(step for one in series for step, value in one["points"] if up.holds(value)), up


def path(points: Points, across: Scale, up: Scale) -> str:
    """The line in a box of 1000 by 1000; it is broken where there is no value."""
    parts, begun = [], False
    for step, value in points:
        if value is None or not up.holds(value):
            begun = False
            continue
        parts.append(f"{'L' if begun else 'M'}{plain(across.share(step) * 10)} {plain(1000 - up.share(value) * 10)}")
        begun = True
    return "".join(parts)


def marks(place: int, points: Points, across: Scale, up: Scale) -> SafeString:
    """A few marks on the line, so that it is told apart without its stroke; one that stands alone is always marked."""
    held = [(step, value) for step, value in points if value is not None and up.holds(value)]
    picked = held[len(held) - 1 :: -max(1, len(held) // MARKS)][:MARKS] if held else []
    return format_html_join(
        "",
        '<svg x="{}%" y="{}%" overflow="visible"><g class="k{}">{}</g></svg>',
        (
            (plain(across.share(step)), plain(100 - up.share(value)), place % STROKES + 1, shape(place))
            for step, value in picked
        ),
    )


def shape(place: int) -> SafeString:
    hollow = " hollow" if place >= STROKES else ""
    return format_html(SHAPES[place % STROKES], hollow)


def key_mark(place: int) -> SafeString:
    """The sign of a line beside its name."""
    return format_html(
        '<svg class="key k{}" viewBox="0 0 26 12" aria-hidden="true"><path class="ln" d="M0 6h26"/>'
        '<g transform="translate(13 6)">{}</g></svg>',
        place % STROKES + 1,
        shape(place),
    )


# -- values at some steps -------------------------------------------------------------------------------------------
def picked_steps(series: Sequence[Mapping[str, Any]], limit: int = COLUMNS) -> list[float]:
    """At most `limit` steps, evenly taken, the first and the last among them. Where a line has few points, they are
    its steps: a loss per epoch is told exactly, beside one per step.
    """
    held = [[step for step, value in one["points"] if value is not None] for one in series]
    fewest = min((steps for steps in held if len(steps) >= FEWEST), key=len, default=[])
    ends = [end(steps) for steps in held if steps for end in (min, max)]
    steps = sorted({*fewest, *ends} if fewest else {step for steps in held for step in steps})
    if len(steps) <= limit:
        return steps
    return [steps[round(place * (len(steps) - 1) / (limit - 1))] for place in range(limit)]


def rows_at(series: Sequence[Mapping[str, Any]], steps: Sequence[float]) -> list[tuple[float, list[float | None]]]:
    """(step, the value of each line there); of a line that skips the step, the nearest one that is nearer to this
    than to the next of `steps`.
    """
    if not steps:
        return []
    held = [[(step, value) for step, value in one["points"] if value is not None] for one in series]
    between = [-math.inf, *((a + b) / 2 for a, b in pairwise(steps)), math.inf]
    return [
        (step, [nearest(points, step, low, high) for points in held])
        for step, (low, high) in zip(steps, pairwise(between), strict=True)
    ]


def nearest(points: Sequence[tuple[float, float]], step: float, low: float, high: float) -> float | None:
    at = bisect_left(points, step, key=lambda point: point[0])
    around = [point for point in points[max(0, at - 1) : at + 1] if low <= point[0] <= high]
    return min(around, key=lambda point: abs(point[0] - step))[1] if around else None


COLUMN = (
    '<svg class="pt" id="{}-{}" x="{}%" tabindex="0" role="img" aria-label="{}"><rect class="hit" x="-{}%" width="{}%" '
    'height="100%"/><g class="tip"><line class="at" y2="100%"/>{}<rect x="{}" width="{}" height="{}" rx="4"/>{}</g>'
    "</svg>"
)


def columns(
    series: Sequence[Mapping[str, Any]], across: Scale, up: Scale, x_unit: str, name: str
) -> Iterable[SafeString]:
    """Bands along the axis, each of which tells what the lines are there; the tip opens towards the middle."""
    steps = [step for step in picked_steps(series) if across.low <= step <= across.high]
    half = plain(50 / max(1, len(steps)))
    for place, (step, values) in enumerate(rows_at(series, steps)):
        told = [(one["label"], value) for one, value in zip(series, values, strict=True) if value is not None]
        head = f"{x_unit} {number(int(step))}".strip()
        texts = [head, *(f"{label} {number(value)}" for label, value in told)]
        wide = max(sum(13 if ord(letter) > 0x2E7F else 6.5 for letter in text) for text in texts) + 14
        at = across.share(step)
        left = 8.0 if at < 60 else -8 - wide
        yield format_html(
            COLUMN,
            name,
            place,  # with an id a chart that renews itself gives the focus back to the same place
            plain(at),
            ", ".join(texts),
            half,
            plain(100 / max(1, len(steps))),
            format_html_join(
                "",
                '<circle cy="{}%" r="4" class="dot"/>',
                ((plain(100 - up.share(value)),) for _, value in told if up.holds(value)),
            ),
            plain(left),
            plain(wide),
            LINE_HEIGHT * len(texts) + 6,
            format_html_join(
                "",
                '<text x="{}" y="{}">{}</text>',
                ((plain(left + 7), LINE_HEIGHT * (line + 1) - 1, text) for line, text in enumerate(texts)),
            ),
        )


@register.filter
def figure(value: Any) -> str:
    """A measured value: as numbers are written, and words for what is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return number(value)


@register.simple_tag
def line_key(place: int) -> SafeString:
    """The sign of the line at `place`, counted from 0, for a page that names it outside the chart."""
    return key_mark(place)


@register.inclusion_tag("components/chart.html")
def line_chart(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """The drawing with its key, a table of the same numbers and the file of all of them."""
    series = list(chart["series"]) if chart else []
    if chart is None or not any(value is not None for one in series for _, value in one["points"]):
        return {"empty": True}
    steps, name, log = picked_steps(series), chart.get("id", "chart"), bool(chart.get("log"))
    return {
        "name": name,
        "svg": line_svg(series, x_unit=chart["x_unit"], y_unit=chart["y_unit"], log=log, name=name),
        "keys": [{"mark": key_mark(place), **one} for place, one in enumerate(series)],
        "head": chart["x_unit"],
        "rows": [(number(int(step)), values) for step, values in rows_at(series, steps)],
        "csv": chart.get("csv", ""),
        "note": chart.get("note", ""),
        "drawn": max(len(one["points"]) for one in series),
    }
