"""Lines, bars with intervals, scattered points and sparklines, drawn on the server.

`{% load charts %}`. Every chart tells its values on hover and by keyboard, has the same numbers as a table, a CSV file
and, with script, a PNG. A chart of lines is a mapping: `series` (a list of {label, points}, points being (place, value
or None); further `url`, `short`, `means` to be smoothed, `band` of intervals: a list of (place, low, high)), `x_unit`,
`y_unit`, and where they are wanted: `axis` (step, relative, time), `log`, `smooth` (0 to 1), `span` (ends of the axis),
`holding` (ends of the axis of values: (0,) for an amount, (0, 100) for a share), `whole` (counts, told in whole
numbers), `zoom` (a part can be looked at), `toggles` (lines can be put away), `hidden` (places of those that are),
`csv` (an address), `note`, `small`, and `id` where a page has more than one. Twenty lines are told apart: four strokes,
each with marks of its own, full and hollow; up to eight are named at their ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import template
from django.template.context import Context
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from apps.core.html import format_html
from apps.web.templatetags.axes import Scale, apply_smoothing, get_axis_formatter
from apps.web.templatetags.formats import format_number
from apps.web.templatetags.line_plots import (
    STROKES,
    Points,
    build_rows,
    draw_key_mark,
    draw_line_chart,
    draw_shape,
    is_keyed,
    pick_steps,
)
from apps.web.templatetags.parallel_coordinates import draw_parallel_chart, format_value
from apps.web.templatetags.plots import draw_bars, draw_scatter, draw_sparkline, format_interval

register = template.Library()
SHADES = 5


# -- tags -----------------------------------------------------------------------------------------------------------
@register.filter
def format_figure(value: Any) -> str:
    """A measured value: as numbers are written, and words for what is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return format_number(value)


@register.simple_tag
def line_key(place: int) -> SafeString:
    """The sign of the line at `place`, counted from 0, for a page that names it outside the chart."""
    return draw_key_mark(place)


@register.inclusion_tag("components/chart.html", takes_context=True)
def line_chart(context: Context, chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """The drawing with its key, a table of the same numbers and the file of all of them."""
    series = list(chart["series"]) if chart else []
    if chart is None or not any(value is not None for line in series for _, value in line["points"]):
        return {"empty": True}
    weight, axis, log = chart.get("smooth", 0), chart.get("axis", "step"), bool(chart.get("log"))
    if weight:
        series = [
            line | {"shown": apply_smoothing(line.get("means") or build_means(line["points"]), weight)}
            for line in series
        ]
    name, hidden = chart.get("id", "chart"), set(chart.get("hidden") or ())
    steps, format_place = pick_steps(series), get_axis_formatter(axis)
    toggles = bool(chart.get("toggles")) and len(series) > 1
    return {
        "name": name,
        "svg": draw_line_chart(
            series,
            x_unit=chart["x_unit"],
            y_unit=chart["y_unit"],
            axis=axis,
            log=log,
            span=chart.get("span"),
            holding=chart.get("holding", ()),
            integers=bool(chart.get("whole")),
            small=bool(chart.get("small")),
            name=name,
            hidden=hidden,
        ),
        "keys": [
            {
                "mark": draw_key_mark(place),
                "place": place,
                "off": place in hidden,
                "toggle": build_hide_url(context, hidden ^ {place}) if toggles else "",
                **line,
            }
            for place, line in enumerate(series)
        ],
        "axis": axis,
        "keyed": is_keyed(series),
        "head": chart["x_unit"],
        "head_row": [line["label"] for line in series],
        "rows": [(format_place(step), values) for step, values in build_rows(series, steps)],
        "csv": chart.get("csv", ""),
        "notes": [
            note for note in (chart.get("note", ""), describe_left_out(series, log), describe_smoothing(weight)) if note
        ],
        "drawn": max(len(line["points"]) for line in series),
        "small": bool(chart.get("small")),
        "zoom": bool(chart.get("zoom")),
    }


def build_means(points: Points) -> list[tuple[float, float, int]]:
    return [(place, value, 1) for place, value in points if value is not None]


def describe_left_out(series: Sequence[Mapping[str, Any]], log: bool) -> str:
    """What a logarithmic axis has no place for is said."""
    odd = sum(value is not None and value <= 0 for line in series for _, value in line["points"]) if log else 0
    words = ngettext(
        "%(n)s value is zero or below: a logarithmic axis has no place for it.",
        "%(n)s values are zero or below: a logarithmic axis has no place for them.",
        odd,
    )
    return words % {"n": format_number(odd)} if odd else ""


def describe_smoothing(weight: float) -> str:
    return (
        gettext("Smoothed with weight %(weight)s; the raw values are faint behind.") % {"weight": format_number(weight)}
        if weight
        else ""
    )


def build_hide_url(context: Context, hidden: Iterable[int]) -> str:
    """The page's own address with these lines put away."""
    request = context.get("request")
    values = request.GET.copy() if request is not None else None
    if values is None:
        return "?"
    values.pop("hide", None)
    if hidden:
        values["hide"] = ",".join(map(str, sorted(hidden)))
    return f"?{values.urlencode()}"


@register.inclusion_tag("components/plot.html")
def bar_chart(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """Bars from the left, each with its interval where it has one.

    A mapping: `bars` (a list of {label, value, low, high, url, best}), `unit`, `id`, `head` (what is compared), `csv`.
    """
    rows = [row for row in (chart or {}).get("bars", ()) if row["value"] is not None and math.isfinite(row["value"])]
    if chart is None or not rows:
        return {"empty": True}
    return {
        "name": chart.get("id", "bars"),
        "svg": draw_bars(rows, unit=chart["unit"]),
        "size": "free",
        "head": [chart.get("head", ""), chart["unit"], gettext("Interval")],
        "rows": [[row["label"], format_number(row["value"]), format_interval(row)] for row in rows],
        "csv": chart.get("csv", ""),
        "notes": [chart["note"]] if chart.get("note") else [],
    }


@register.inclusion_tag("components/plot.html")
def scatter_chart(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """Points by two values. A mapping: `points` (a list of {label, x, y, low, high, url, place, is_named}), `x_unit`,
    `y_unit`, `log_x`, `log_y`, `id`, `head` (what a point is), `names` (of the signs), `level` ({value, label}, a line
    across). `place` gives a point the sign of a line, `low` and `high` are an interval of y. With `third` ({unit,
    words: names or (), low, high}) points have `z`, which is told in the table, and `shade` (0 to 4) or the `place` of
    its word.
    """
    points = [point for point in (chart or {}).get("points", ()) if point["x"] is not None and point["y"] is not None]
    if chart is None or not points:
        return {"empty": True}
    across = Scale((point["x"] for point in points), log=bool(chart.get("log_x")), pad=0.05)
    level = chart.get("level")
    heights = [point[key] for point in points for key in ("y", "low", "high") if point.get(key) is not None]
    up = Scale([*heights, *([level["value"]] if level else [])], log=bool(chart.get("log_y")), pad=0.08)
    drawable = [point for point in points if across.can_place(point["x"]) and up.can_place(point["y"])]
    third = chart.get("third")
    has_intervals = any(point.get("low") is not None for point in points)
    return {
        "name": chart.get("id", "scatter"),
        "svg": draw_scatter(
            drawable,
            across,
            up,
            x_unit=chart["x_unit"],
            y_unit=chart["y_unit"],
            sign=draw_sign,
            third=third,
            level=level,
        ),
        "size": "",
        "keys": build_third_keys(third) if third else build_name_keys(chart.get("names", ())),
        "head": [
            chart.get("head", ""),
            chart["x_unit"],
            chart["y_unit"],
            *([third["unit"]] if third else []),
            *([gettext("Interval")] if has_intervals else []),
        ],
        "rows": [
            [
                point["label"],
                format_number(point["x"]),
                format_number(point["y"]),
                *([format_value(point["z"])] if third else []),
                *([format_interval(point)] if has_intervals else []),
            ]
            for point in points
        ],
        "csv": chart.get("csv", ""),
        "notes": [describe_left_out_points(len(points) - len(drawable))] if len(drawable) < len(points) else [],
    }


def describe_left_out_points(count: int) -> str:
    words = ngettext("%(n)s point has no place on these axes.", "%(n)s points have no place on these axes.", count)
    return words % {"n": format_number(count)}


def build_name_keys(names: Iterable[str]) -> list[dict[str, Any]]:
    """The sign of each point by its place."""
    return [{"mark": draw_key_mark(place), "label": name} for place, name in enumerate(names)]


def build_third_keys(third: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the signs say: a word each, or the ends of the shades."""
    if third["words"]:
        return [{"mark": draw_key_mark(place), "label": word} for place, word in enumerate(third["words"])]
    mark = '<svg class="key" viewBox="0 0 26 12" aria-hidden="true"><g transform="translate(13 6)">{}</g></svg>'
    return [
        {"mark": format_html(mark, draw_shaded_point(shade)), "label": f"{third['unit']} {format_number(end)}"}
        for shade, end in ((0, third["low"]), (SHADES - 1, third["high"]))
    ]


def draw_shaded_point(shade: int) -> SafeString:
    """A point whose ground says how high its third value is: from nearly empty to full."""
    return format_html('<circle r="5" class="dot shaded" fill-opacity="{}"/>', max(0.08, shade / (SHADES - 1)))


@register.inclusion_tag("components/plot.html")
def parallel_chart(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parallel coordinates. A mapping: `axes` and `lines` (see parallel_coordinates.py), `id`, `head`."""
    if chart is None or not chart["axes"]:
        return {"empty": True}
    axes, lines = chart["axes"], chart["lines"]
    extra_head = [gettext("in range")] if chart.get("bounded") else []
    return {
        "name": chart.get("id", "parallel"),
        "svg": draw_parallel_chart(axes, lines),
        "size": "par",
        "wide": True,
        "head": [chart.get("head", ""), *(axis.key for axis in axes), *extra_head],
        "rows": [
            [
                line["label"],
                *(format_value(axis.values[line["place"]]) for axis in axes),
                *([gettext("yes") if line["inside"] else gettext("no")] if extra_head else []),
            ]
            for line in lines
        ],
        "csv": chart.get("csv", ""),
        "notes": [],
    }


def draw_sign(place: int | None, shade: int | None = None) -> SafeString:
    if shade is not None:
        return draw_shaded_point(shade)
    if place is None:
        return SafeString('<circle r="4.5" class="dot"/>')
    return format_html('<g class="k{}">{}</g>', place % STROKES + 1, draw_shape(place))


@register.simple_tag
def sparkline(values: Iterable[float | None] | None, label: str = "") -> SafeString | str:
    """A line the height of a table's row, its newest value marked; `label` says what it shows, for readers too."""
    return draw_sparkline(list(values or ()), label)
