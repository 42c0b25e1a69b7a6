"""Bars with intervals, scattered points and sparklines as SVG; charts.py makes tags of them. Pure, but for words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext

from apps.core.html import format_html, format_html_join
from apps.web.templatetags.axes import Scale, label_levels
from apps.web.templatetags.formats import format_number
from apps.web.templatetags.svg_marks import LEVEL, format_coordinate

ROW = 40  # px of a bar with its name above it
LETTERS = 48  # of a name that is drawn; the whole one is its title

TIP = (
    '<g class="tip"><rect x="{}" y="{}" width="{}" height="22" rx="4"/>'
    '<text x="{}" y="{}" text-anchor="middle">{}</text></g>'
)
TICK = '<text x="{}%" y="100%" dy="17" text-anchor="{}">{}</text>'


def estimate_width(text: str) -> float:
    """About how many pixels a text of a tip takes."""
    return sum(13 if ord(letter) > 0x2E7F else 6.5 for letter in text)


def draw_tip(text: str, at: float, y: float = -26) -> SafeString:
    """A tip that opens towards the middle of the chart, from `at` per cent."""
    wide = estimate_width(text) + 14
    left = 8.0 if at < 60 else -8 - wide
    return format_html(
        TIP,
        format_coordinate(left),
        format_coordinate(y),
        format_coordinate(wide),
        format_coordinate(left + wide / 2),
        format_coordinate(y + 15),
        text,
    )


def format_interval(row: Mapping[str, Any]) -> str:
    low, high = row.get("low"), row.get("high")
    if low is None or high is None:
        return "–"
    return gettext("%(low)s to %(high)s") % {"low": format_number(low), "high": format_number(high)}


# -- bars -----------------------------------------------------------------------------------------------------------
BAR = (
    '<svg class="pt" y="{}" tabindex="0" role="img" aria-label="{}"><title>{}</title>'
    '<text class="lbl" y="12">{}</text><rect class="bars{}" x="{}%" y="18" width="{}%" height="14"/>{}'
    '<rect class="hit" width="100%" height="{}"/><svg x="{}%" y="18" overflow="visible">{}</svg></svg>'
)
WHISKER = (
    '<g class="k2"><line x1="{0}%" x2="{1}%" y1="25" y2="25"/><line x1="{0}%" x2="{0}%" y1="20" y2="30"/>'
    '<line x1="{1}%" x2="{1}%" y1="20" y2="30"/></g>'
)


def draw_bars(rows: Sequence[Mapping[str, Any]], *, unit: str) -> SafeString:
    """One bar below the other, from zero; an interval is a line with ends across it."""
    ends = [bound for row in rows for bound in (row["value"], row.get("low"), row.get("high")) if bound is not None]
    scale = Scale([0.0, *ends])
    tall = ROW * len(rows)
    ticks = scale.compute_ticks()
    grid = format_html_join(
        "", '<line class="gl" x1="{0}%" x2="{0}%" y2="{1}"/>', ((format_coordinate(at), tall) for at, _ in ticks)
    )
    return format_html(
        '<svg height="{}">{}{}<text x="100%" y="100%" dy="33" text-anchor="end">{}</text>{}</svg>',
        tall,
        grid,
        format_html_join(
            "", TICK, ((format_coordinate(at), get_anchor(at), format_number(value)) for at, value in ticks)
        ),
        unit,
        format_html_join("", BAR, (build_bar(place, row, scale) for place, row in enumerate(rows))),
    )


def get_anchor(at: float) -> str:
    return "start" if at < 2 else "end" if at > 98 else "middle"


def build_bar(place: int, row: Mapping[str, Any], scale: Scale) -> tuple[Any, ...]:
    zero, end = scale.to_percent(0.0), scale.to_percent(row["value"])
    text = f"{row['label']}: {format_number(row['value'])}"
    has_interval = row.get("low") is not None and row.get("high") is not None
    text += f" ({format_interval(row)})" if has_interval else ""
    whisker = (
        format_html(WHISKER, *(format_coordinate(scale.to_percent(row[key])) for key in ("low", "high")))
        if has_interval
        else ""
    )
    name = row["label"] if len(row["label"]) <= LETTERS else f"{row['label'][: LETTERS - 1]}…"
    return (
        place * ROW,
        text,
        row["label"],
        name,
        "" if row.get("best") else " quiet",
        format_coordinate(min(zero, end)),
        format_coordinate(abs(end - zero)),
        whisker,
        ROW,
        format_coordinate(end),
        draw_tip(text, end),
    )


# -- scattered points -----------------------------------------------------------------------------------------------
SPOT = (
    '<svg class="pt" x="{}%" y="{}%" overflow="visible" tabindex="0" role="img" aria-label="{}">'
    '<circle class="hit" r="12"/>{}{}</svg>'
)
LINKED = '<a href="{}" class="pt">{}</a>'


def draw_scatter(
    points: Sequence[Mapping[str, Any]],
    across: Scale,
    up: Scale,
    *,
    x_unit: str,
    y_unit: str,
    sign: Callable[..., SafeString],
    third: Mapping[str, Any] | None = None,
    level: Mapping[str, Any] | None = None,
) -> SafeString:
    """A sign for each point; the chart's two units stand at the ends of its axes. `third` names what `z` is, `level`
    is a line across."""
    return format_html(
        '<svg>{}{}<line class="ax" x2="100%" y1="100%" y2="100%"/><text x="-44" y="0" dy="-14">{}</text>'
        '<text x="100%" y="100%" dy="33" text-anchor="end">{}</text>{}{}</svg>',
        format_html_join(
            "", LEVEL, ((format_coordinate(100 - at), text) for at, text in label_levels(up.compute_ticks()))
        ),
        format_html_join(
            "",
            TICK,
            ((format_coordinate(at), get_anchor(at), format_number(value)) for at, value in across.compute_ticks()),
        ),
        y_unit,
        x_unit,
        draw_level(level, up) if level else "",
        format_html_join("", "{}", ((draw_spot(point, across, up, x_unit, y_unit, sign, third),) for point in points)),
    )


VERTICAL = (
    '<g class="k2"><line y1="{0}%" y2="{1}%"/><line x1="-4" x2="4" y1="{0}%" y2="{0}%"/>'
    '<line x1="-4" x2="4" y1="{1}%" y2="{1}%"/></g>'
)
ACROSS = (
    '<g class="k3"><line x2="100%" y1="{0}%" y2="{0}%"/></g>'
    '<text x="100%" y="{0}%" dy="14" text-anchor="end">{1}</text>'
)
NAME = '<text class="lbl" x="{}" y="-8" text-anchor="{}">{}</text>'


def draw_vertical_interval(point: Mapping[str, Any], up: Scale) -> SafeString:
    """A line with ends across it, from the place of the point."""
    ends = (up.to_percent(point["y"]) - up.to_percent(point[key]) for key in ("low", "high"))
    return format_html(VERTICAL, *(format_coordinate(end) for end in ends))


def draw_level(level: Mapping[str, Any], up: Scale) -> SafeString:
    return format_html(ACROSS, format_coordinate(100 - up.to_percent(level["value"])), level["label"])


def draw_name(name: str, at: float) -> SafeString:
    """The name of a point beside it, towards the middle of the chart."""
    return format_html(NAME, *((8, "start") if at < 60 else (-8, "end")), name)


def draw_spot(
    point: Mapping[str, Any],
    across: Scale,
    up: Scale,
    x_unit: str,
    y_unit: str,
    sign: Callable[..., SafeString],
    third: Mapping[str, Any] | None,
) -> SafeString:
    at, height = across.to_percent(point["x"]), 100 - up.to_percent(point["y"])
    text = f"{point['label']}: {x_unit} {format_number(point['x'])}, {y_unit} {format_number(point['y'])}"
    has_interval = point.get("low") is not None and point.get("high") is not None
    text += f" ({format_interval(point)})" if has_interval else ""
    if third and point.get("z") is not None:
        text += f", {third['unit']} {point['z'] if isinstance(point['z'], str) else format_number(point['z'])}"
    return format_html(
        SPOT,
        format_coordinate(at),
        format_coordinate(height),
        text,
        format_html(
            "{}{}{}",
            draw_vertical_interval(point, up) if has_interval else "",
            sign(point.get("place"), point.get("shade")),
            draw_name(point["label"], at) if point.get("is_named") else "",
        ),
        draw_tip(text, at),
    )


# -- sparkline ------------------------------------------------------------------------------------------------------
SPARK = '<svg class="spark" viewBox="0 0 96 20" role="img" aria-label="{}"><title>{}</title>{}{}</svg>'
WIDE, TALL, EDGE = 96, 20, 3


def draw_sparkline(values: Sequence[float | None], label: str) -> SafeString | str:
    """A gap where a value is none; nothing for less than two values."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < 2:
        return ""
    scale = Scale(finite)
    parts, begun, end = [], False, (0.0, 0.0)
    for place, value in enumerate(values):
        if value is None or not math.isfinite(value):
            begun = False
            continue
        x = EDGE + place / (len(values) - 1) * (WIDE - 2 * EDGE)
        end = x, TALL - EDGE - scale.to_percent(value) / 100 * (TALL - 2 * EDGE)
        parts.append(f"{'L' if begun else 'M'}{format_coordinate(end[0], 1)} {format_coordinate(end[1], 1)}")
        begun = True
    line = format_html('<path class="ln k1" d="{}"/>', "".join(parts))
    dot = format_html(
        '<circle class="dot" cx="{}" cy="{}" r="2.5"/>', format_coordinate(end[0], 1), format_coordinate(end[1], 1)
    )
    words = gettext("%(label)s: %(first)s, at last %(last)s, between %(low)s and %(high)s") % {
        "label": label,
        "first": format_number(finite[0]),
        "last": format_number(finite[-1]),
        "low": format_number(min(finite)),
        "high": format_number(max(finite)),
    }
    return format_html(SPARK, words, words, line, dot)
