"""Lines, bars with intervals, scattered points and sparklines, drawn on the server.

`{% load charts %}`. Every chart tells its values on hover and by keyboard, has the same numbers as a table, a CSV file
and, with script, a PNG. A chart of lines is a mapping: `series` (a list of {label, points}, points being (place, value
or None); further `url`, `short`, `means` to be smoothed), `x_unit`, `y_unit`, and where they are wanted: `axis` (step,
relative, time), `log`, `smooth` (0 to 1), `span` (ends of the axis), `holding` (ends of the axis of values: (0,) for an
amount, (0, 100) for a share), `whole` (counts, told in whole numbers), `zoom` (a part can be looked at), `toggles`
(lines can be put away), `hidden` (places of those that are), `csv` (an address), `note`, `small`, and `id` where a page
has more than one. Twenty lines are told apart: four strokes, each with marks of its own, full and hollow; up to eight
are named at their ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import template
from django.template.context import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from apps.web.templatetags.axes import Scale, smoothed, words_of
from apps.web.templatetags.formats import number
from apps.web.templatetags.line_plots import (
    STROKES,
    Points,
    is_keyed,
    key_mark,
    line_svg,
    picked_steps,
    rows_at,
    shape,
)
from apps.web.templatetags.parallel_coordinates import parallel_svg, said_of
from apps.web.templatetags.plots import bars_svg, interval_said, scatter_svg, spark_svg

register = template.Library()
SHADES = 5


# -- tags -----------------------------------------------------------------------------------------------------------
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


@register.inclusion_tag("components/chart.html", takes_context=True)
def line_chart(context: Context, chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """The drawing with its key, a table of the same numbers and the file of all of them."""
    series = list(chart["series"]) if chart else []
    if chart is None or not any(value is not None for one in series for _, value in one["points"]):
        return {"empty": True}
    weight, axis, log = chart.get("smooth", 0), chart.get("axis", "step"), bool(chart.get("log"))
    if weight:
        series = [one | {"shown": smoothed(one.get("means") or means_of(one["points"]), weight)} for one in series]
    name, hidden = chart.get("id", "chart"), set(chart.get("hidden") or ())
    steps, said = picked_steps(series), words_of(axis)
    toggles = bool(chart.get("toggles")) and len(series) > 1
    return {
        "name": name,
        "svg": line_svg(
            series,
            x_unit=chart["x_unit"],
            y_unit=chart["y_unit"],
            axis=axis,
            log=log,
            span=chart.get("span"),
            holding=chart.get("holding", ()),
            whole=bool(chart.get("whole")),
            small=bool(chart.get("small")),
            name=name,
            hidden=hidden,
        ),
        "keys": [
            {
                "mark": key_mark(place),
                "place": place,
                "off": place in hidden,
                "toggle": hide_address(context, hidden ^ {place}) if toggles else "",
                **one,
            }
            for place, one in enumerate(series)
        ],
        "axis": axis,
        "keyed": is_keyed(series),
        "head": chart["x_unit"],
        "head_row": [one["label"] for one in series],
        "rows": [(said(step), values) for step, values in rows_at(series, steps)],
        "csv": chart.get("csv", ""),
        "notes": [note for note in (chart.get("note", ""), left_out(series, log), smooth_note(weight)) if note],
        "drawn": max(len(one["points"]) for one in series),
        "small": bool(chart.get("small")),
        "zoom": bool(chart.get("zoom")),
    }


def means_of(points: Points) -> list[tuple[float, float, int]]:
    return [(place, value, 1) for place, value in points if value is not None]


def left_out(series: Sequence[Mapping[str, Any]], log: bool) -> str:
    """What a logarithmic axis has no place for is said."""
    odd = sum(value is not None and value <= 0 for one in series for _, value in one["points"]) if log else 0
    words = ngettext(
        "%(n)s value is zero or below: a logarithmic axis has no place for it.",
        "%(n)s values are zero or below: a logarithmic axis has no place for them.",
        odd,
    )
    return words % {"n": number(odd)} if odd else ""


def smooth_note(weight: float) -> str:
    return (
        gettext("Smoothed with weight %(weight)s; what was measured stands faint behind.") % {"weight": number(weight)}
        if weight
        else ""
    )


def hide_address(context: Context, hidden: Iterable[int]) -> str:
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
        "svg": bars_svg(rows, unit=chart["unit"]),
        "size": "free",
        "head": [chart.get("head", ""), chart["unit"], gettext("Interval")],
        "rows": [[row["label"], number(row["value"]), interval_said(row)] for row in rows],
        "csv": chart.get("csv", ""),
        "notes": [chart["note"]] if chart.get("note") else [],
    }


@register.inclusion_tag("components/plot.html")
def scatter_chart(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """Points by two values. A mapping: `points` (a list of {label, x, y, url, place}), `x_unit`, `y_unit`, `log_x`,
    `log_y`, `id`, `head` (what a point is). `place` gives a point the sign of a line. With `third` ({unit, words: names
    or (), low, high}) points have `z`, which is told in the table, and `shade` (0 to 4) or the `place` of its word.
    """
    points = [one for one in (chart or {}).get("points", ()) if one["x"] is not None and one["y"] is not None]
    if chart is None or not points:
        return {"empty": True}
    across = Scale((one["x"] for one in points), log=bool(chart.get("log_x")), pad=0.05)
    up = Scale((one["y"] for one in points), log=bool(chart.get("log_y")), pad=0.08)
    held = [one for one in points if across.holds(one["x"]) and up.holds(one["y"])]
    third = chart.get("third")
    return {
        "name": chart.get("id", "scatter"),
        "svg": scatter_svg(held, across, up, x_unit=chart["x_unit"], y_unit=chart["y_unit"], sign=sign_of, third=third),
        "size": "",
        "keys": keys_of_third(third) if third else [],
        "head": [chart.get("head", ""), chart["x_unit"], chart["y_unit"], *([third["unit"]] if third else [])],
        "rows": [
            [one["label"], number(one["x"]), number(one["y"]), *([said_of(one["z"])] if third else [])]
            for one in points
        ],
        "csv": chart.get("csv", ""),
        "notes": [left_out_points(len(points) - len(held))] if len(held) < len(points) else [],
    }


def left_out_points(count: int) -> str:
    words = ngettext("%(n)s point has no place on these axes.", "%(n)s points have no place on these axes.", count)
    return words % {"n": number(count)}


def keys_of_third(third: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the signs say: a word each, or the ends of the shades."""
    if third["words"]:
        return [{"mark": key_mark(place), "label": word} for place, word in enumerate(third["words"])]
    mark = '<svg class="key" viewBox="0 0 26 12" aria-hidden="true"><g transform="translate(13 6)">{}</g></svg>'
    return [
        {"mark": format_html(mark, shaded(shade)), "label": f"{third['unit']} {number(end)}"}
        for shade, end in ((0, third["low"]), (SHADES - 1, third["high"]))
    ]


def shaded(shade: int) -> SafeString:
    """A point whose ground says how high its third value is: from nearly empty to full."""
    return format_html('<circle r="5" class="dot shaded" fill-opacity="{}"/>', max(0.08, shade / (SHADES - 1)))


@register.inclusion_tag("components/plot.html")
def parallel_chart(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parallel coordinates. A mapping: `axes` and `lines` (see parallel_coordinates.py), `id`, `head`."""
    if chart is None or not chart["axes"]:
        return {"empty": True}
    axes, lines = chart["axes"], chart["lines"]
    told = [gettext("in range")] if chart.get("bounded") else []
    return {
        "name": chart.get("id", "parallel"),
        "svg": parallel_svg(axes, lines),
        "size": "par",
        "wide": True,
        "head": [chart.get("head", ""), *(axis.key for axis in axes), *told],
        "rows": [
            [
                line["label"],
                *(said_of(axis.values[line["place"]]) for axis in axes),
                *([gettext("yes") if line["inside"] else gettext("no")] if told else []),
            ]
            for line in lines
        ],
        "csv": chart.get("csv", ""),
        "notes": [],
    }


def sign_of(place: int | None, shade: int | None = None) -> SafeString:
    if shade is not None:
        return shaded(shade)
    if place is None:
        return SafeString('<circle r="4.5" class="dot"/>')
    return format_html('<g class="k{}">{}</g>', place % STROKES + 1, shape(place))


@register.simple_tag
def sparkline(values: Iterable[float | None] | None, label: str = "") -> SafeString | str:
    """A line the height of a table's row, its newest value marked; `label` says what it shows, for readers too."""
    return spark_svg(list(values or ()), label)
