"""Lines over steps or time as SVG: paths, marks, names at their ends, and what they say at some places; charts.py makes
the tag of it. Pure.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from django.utils.safestring import SafeString

from apps.core.html import format_html, format_html_join
from apps.web.templatetags.axes import Scale, build_ticks, get_axis_formatter, label_levels
from apps.web.templatetags.formats import format_number
from apps.web.templatetags.plots import estimate_width
from apps.web.templatetags.svg_marks import LEVEL, format_coordinate

MAX_COLUMNS = 32  # places along the axis that tell their values
MAX_COLUMNS_OF_MANY = 8
MAX_NAMED_LINES = 8  # lines; more are not named at their ends
MIN_POINTS = 8  # points of a line whose steps are worth telling
MARKS_PER_LINE = 4  # marks on one line
MARKS_APART = 4.0  # per cent of the width, between two of them: nearer ones would hide the line
STROKES = 4
SHAPES = (
    '<circle r="4.5" class="mk{0}"/>',
    '<rect x="-4" y="-4" width="8" height="8" class="mk{0}"/>',
    '<path d="M0-5.5 5.2 4H-5.2z" class="mk{0}"/>',
    '<path d="M0-5.5 5.5 0 0 5.5-5.5 0z" class="mk{0}"/>',
)
LINE_HEIGHT = 16  # px, of a tip
LABEL_APART, LABEL_APART_SMALL = 7.0, 12.0  # per cent of the height, between the names of two lines
LABEL_LETTERS = 15

Points = Sequence[tuple[float, float | None]]
TICK = '<text x="{}%" y="100%" dy="17" text-anchor="{}"{}>{}</text>'


# -- the drawing ----------------------------------------------------------------------------------------------------
def draw_line_chart(
    series: Sequence[Mapping[str, Any]],
    *,
    x_unit: str = "",
    y_unit: str = "",
    axis: str = "step",
    log: bool = False,
    span: tuple[float, float] | None = None,
    holding: Sequence[float] = (),
    integers: bool = False,
    small: bool = False,
    name: str = "chart",
    hidden: Iterable[int] = (),
) -> SafeString:
    """The whole drawing. A value that is None or that the axis does not hold is a gap; `shown` of a series is its line,
    and `points` stand faint behind it where it was smoothed.
    """
    put_away = set(hidden)
    visible = [entry for place, entry in enumerate(series) if place not in put_away]
    across, up = build_scales(visible or series, log=log, span=span, holding=holding)
    return format_html(
        '<svg data-low="{}" data-high="{}">{}{}<line class="ax" x2="100%" y1="100%" y2="100%"/>'
        '<text x="-44" y="0" dy="-14">{}</text><text x="100%" y="100%" dy="33" text-anchor="end">{}</text>'
        '<svg class="plot" viewBox="0 0 1000 1000" preserveAspectRatio="none">{}</svg>{}{}{}</svg>',
        f"{across.low:.15g}",
        f"{across.high:.15g}",
        format_html_join(
            "",
            LEVEL,
            ((format_coordinate(100 - at), text) for at, text in label_levels(up.compute_ticks(integers=integers))),
        ),
        format_html_join("", TICK, (build_tick(axis, *entry) for entry in build_ticks(axis, across))),
        y_unit,
        x_unit,
        join_parts(draw_line(place, entry, across, up, place in put_away) for place, entry in enumerate(series)),
        join_parts(draw_marks(place, entry, across, up, place in put_away) for place, entry in enumerate(series)),
        draw_end_labels(series, across, up, put_away, LABEL_APART_SMALL if small else LABEL_APART),
        join_parts(draw_columns(visible, across, up, axis, x_unit, name)),
    )


def join_parts(parts: Iterable[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))


def build_tick(axis: str, at: float, value: float, text: str) -> tuple[str, str, SafeString, str]:
    """The last one ends in the card's margin: within the plot it would meet the one before on a narrow screen."""
    stamp = format_html(' data-at="{}"', f"{value:.0f}") if axis == "time" else SafeString("")
    last = at > 98
    return format_coordinate(at), "end" if last else "middle", SafeString(' dx="12"') + stamp if last else stamp, text


def get_line(entry: Mapping[str, Any]) -> Points:
    """What is drawn of a series: its smoothed line, if it has one."""
    points: Points = entry.get("shown") or entry["points"]
    return points


def build_scales(
    series: Sequence[Mapping[str, Any]],
    *,
    log: bool,
    span: tuple[float, float] | None = None,
    holding: Sequence[float] = (),
) -> tuple[Scale, Scale]:
    values = [value for entry in series for _, value in entry["points"] if value is not None]
    values += [end for entry in series for _, low, high in entry.get("band", ()) for end in (low, high)]
    up = Scale(values, log=log, pad=0.04, holding=holding)
    across = Scale(span or (step for entry in series for step, value in entry["points"] if up.can_place(value)))
    return across, up


def draw_line(place: int, entry: Mapping[str, Any], across: Scale, up: Scale, away: bool) -> SafeString:
    stroke, out = place % STROKES + 1, SafeString(" hidden" if away else "")
    faint = SafeString("")
    if entry.get("shown"):
        faint = format_html(
            '<path class="ln k{}" opacity=".25" data-of="{}"{} d="{}"/>',
            stroke,
            place,
            out,
            build_path(entry["points"], across, up),
        )
    if entry.get("band"):
        faint += format_html(
            '<path class="band k{}" data-of="{}"{} d="{}"/>', stroke, place, out, build_band(entry["band"], across, up)
        )
    return format_html(
        '{}<path class="ln k{}" data-of="{}"{} d="{}"{}/>',
        faint,
        stroke,
        place,
        out,
        build_path(get_line(entry), across, up),
        render_data_attributes(entry),
    )


def render_data_attributes(entry: Mapping[str, Any]) -> SafeString:
    """The values of the line, so that a script can tell each of them; the measured ones too where it is smoothed."""
    points = get_line(entry)
    places = " ".join(f"{place:.14g}" for place, _ in points)
    values = " ".join("-" if value is None else f"{value:.6g}" for _, value in points)
    raw = ""
    if entry.get("shown"):
        measured = [(place, value) for place, value in entry["points"] if value is not None]
        raw = (
            " ".join(f"{find_nearest(measured, place, -math.inf, math.inf):.6g}" for place, _ in points)
            if measured
            else ""
        )
    return format_html(' data-x="{}" data-y="{}" data-raw="{}"', places, values, raw)


def build_path(points: Points, across: Scale, up: Scale) -> str:
    """The line in a box of 1000 by 1000; it is broken where there is no value."""
    parts, begun = [], False
    for step, value in points:
        if value is None or not up.can_place(value):
            begun = False
            continue
        place, height = across.to_percent(step) * 10, 1000 - up.to_percent(value) * 10
        parts.append(f"{'L' if begun else 'M'}{format_coordinate(place, 1)} {format_coordinate(height, 1)}")
        begun = True
    return "".join(parts)


def build_band(band: Sequence[tuple[float, float, float]], across: Scale, up: Scale) -> str:
    """The area between the lower and the upper ends: there along the upper ones, and back along the lower ones."""
    ends = [(place, high) for place, _, high in band] + [(place, low) for place, low, _ in reversed(band)]
    places = (
        f"{format_coordinate(across.to_percent(place) * 10, 1)} {format_coordinate(1000 - up.to_percent(end) * 10, 1)}"
        for place, end in ends
    )
    return f"M{'L'.join(places)}z"


def list_drawable_points(entry: Mapping[str, Any], up: Scale) -> list[tuple[float, float]]:
    return [(step, value) for step, value in get_line(entry) if value is not None and up.can_place(value)]


def draw_marks(place: int, entry: Mapping[str, Any], across: Scale, up: Scale, away: bool) -> SafeString:
    """A few marks on the line, so that it is told apart without its stroke; one that stands alone is always marked."""
    points = [point for point in list_drawable_points(entry, up) if across.low <= point[0] <= across.high]
    picked: list[tuple[float, float]] = []
    for point in points[:: -max(1, len(points) // MARKS_PER_LINE)]:
        if not picked or abs(across.to_percent(picked[-1][0]) - across.to_percent(point[0])) >= MARKS_APART:
            picked.append(point)
    return format_html_join(
        "",
        '<svg x="{}%" y="{}%" overflow="visible" data-of="{}"{}><g class="k{}">{}</g></svg>',
        (
            (
                format_coordinate(across.to_percent(step)),
                format_coordinate(100 - up.to_percent(value)),
                place,
                SafeString(" hidden" if away else ""),
                place % STROKES + 1,
                draw_shape(place),
            )
            for step, value in picked[:MARKS_PER_LINE]
        ),
    )


def draw_shape(place: int) -> SafeString:
    """Of each four lines the strokes differ; of each round the marks are the next, first full and then hollow."""
    rounds = place // STROKES
    return format_html(SHAPES[(place + rounds // 2) % STROKES], " hollow" if rounds % 2 else "")


def draw_key_mark(place: int) -> SafeString:
    """The sign of a line beside its name."""
    return format_html(
        '<svg class="key k{}" viewBox="0 0 26 12" aria-hidden="true"><path class="ln" d="M0 6h26"/>'
        '<g transform="translate(13 6)">{}</g></svg>',
        place % STROKES + 1,
        draw_shape(place),
    )


def is_keyed(series: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the lines are named at their ends."""
    return 1 < len(series) <= MAX_NAMED_LINES


def draw_end_labels(
    series: Sequence[Mapping[str, Any]], across: Scale, up: Scale, away: set[int], distance: float = LABEL_APART
) -> SafeString:
    """The names of the lines beside their last values, pushed apart where they would meet."""
    if not is_keyed(series):
        return SafeString("")
    ended = {place: list_drawable_points(entry, up) for place, entry in enumerate(series) if place not in away}
    heights = {place: 100 - up.to_percent(points[-1][1]) for place, points in ended.items() if points}
    return format_html_join(
        "",
        '<text class="lbl" x="100%" y="{}%" dx="10" dy="4" data-of="{}">{}</text>',
        (
            (format_coordinate(at), place, cut(series[place].get("short") or series[place]["label"]))
            for place, at in position_labels(heights, distance)
        ),
    )


def cut(text: str) -> str:
    return text if len(text) <= LABEL_LETTERS else f"{text[: LABEL_LETTERS - 1]}…"


def position_labels(heights: Mapping[int, float], distance: float = LABEL_APART) -> list[tuple[int, float]]:
    """(key, height) from the top, each at least `distance` below the one before, and none below the foot."""
    order = sorted(heights, key=lambda key: heights[key])
    places, low = [], -math.inf
    for key in order:
        low = max(heights[key], low + distance)
        places.append(low)
    most = 100.0
    for at in reversed(range(len(places))):
        places[at] = min(places[at], most)
        most = places[at] - distance
    return list(zip(order, places, strict=True))


# -- values at some steps -------------------------------------------------------------------------------------------
def pick_steps(series: Sequence[Mapping[str, Any]], limit: int = MAX_COLUMNS) -> list[float]:
    """At most `limit` steps, evenly taken, the first and the last among them. Where a line has few points, they are
    its steps: a loss per epoch is told exactly, beside one per step.
    """
    step_lists = [[step for step, value in entry["points"] if value is not None] for entry in series]
    fewest = min((steps for steps in step_lists if len(steps) >= MIN_POINTS), key=len, default=[])
    ends = [end(steps) for steps in step_lists if steps for end in (min, max)]
    steps = sorted({*fewest, *ends} if fewest else {step for steps in step_lists for step in steps})
    if len(steps) <= limit:
        return steps
    return [steps[round(place * (len(steps) - 1) / (limit - 1))] for place in range(limit)]


def build_rows(series: Sequence[Mapping[str, Any]], steps: Sequence[float]) -> list[tuple[float, list[float | None]]]:
    """(step, the value of each line there); of a line that skips the step, the nearest one that is nearer to this
    than to the next of `steps`.
    """
    if not steps:
        return []
    lines = [[(step, value) for step, value in get_line(entry) if value is not None] for entry in series]
    between = [-math.inf, *((a + b) / 2 for a, b in pairwise(steps)), math.inf]
    return [
        (step, [find_nearest(points, step, low, high) for points in lines])
        for step, (low, high) in zip(steps, pairwise(between), strict=True)
    ]


def find_nearest(points: Sequence[tuple[float, float]], step: float, low: float, high: float) -> float | None:
    at = bisect_left(points, step, key=lambda point: point[0])
    around = [point for point in points[max(0, at - 1) : at + 1] if low <= point[0] <= high]
    return min(around, key=lambda point: abs(point[0] - step))[1] if around else None


COLUMN = (
    '<svg class="pt" id="{}-{}" x="{}%" tabindex="0" role="img" aria-label="{}"><rect class="hit" x="-{}%" width="{}%" '
    'height="100%"/><g class="tip"><line class="at" y2="100%"/>{}<rect x="{}" width="{}" height="{}" rx="4"/>{}</g>'
    "</svg>"
)


def draw_columns(
    series: Sequence[Mapping[str, Any]], across: Scale, up: Scale, axis: str, x_unit: str, name: str
) -> Iterable[SafeString]:
    """Bands along the axis, each of which tells what the lines are there; the tip opens towards the middle."""
    format_place, most = get_axis_formatter(axis), MAX_COLUMNS if len(series) <= STROKES else MAX_COLUMNS_OF_MANY
    steps = [step for step in pick_steps(series, most) if across.low <= step <= across.high]
    half = format_coordinate(50 / max(1, len(steps)))
    for place, (step, values) in enumerate(build_rows(series, steps)):
        readings = [(entry["label"], value) for entry, value in zip(series, values, strict=True) if value is not None]
        head = format_place(step) if axis != "step" else f"{x_unit} {format_place(step)}".strip()
        texts = [head, *(f"{label} {format_number(value)}" for label, value in readings)]
        wide = max(map(estimate_width, texts)) + 14
        at = across.to_percent(step)
        left = 8.0 if at < 60 else -8 - wide
        yield format_html(
            COLUMN,
            name,
            place,  # with an id a chart that renews itself gives the focus back to the same place
            format_coordinate(at),
            ", ".join(texts),
            half,
            format_coordinate(100 / max(1, len(steps))),
            format_html_join(
                "",
                '<circle cy="{}%" r="4" class="dot"/>',
                ((format_coordinate(100 - up.to_percent(value)),) for _, value in readings if up.can_place(value)),
            ),
            format_coordinate(left),
            format_coordinate(wide),
            LINE_HEIGHT * len(texts) + 6,
            format_html_join(
                "",
                '<text x="{}" y="{}">{}</text>',
                ((format_coordinate(left + 7), LINE_HEIGHT * (line + 1) - 1, text) for line, text in enumerate(texts)),
            ),
        )
