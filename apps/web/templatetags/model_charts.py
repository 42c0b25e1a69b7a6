"""Charts of what a model predicts: many scattered points, and a confusion matrix. `{% load model_charts %}`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apps.core.html import format_html, format_html_join
from apps.web.templatetags.axes import Scale, label_levels
from apps.web.templatetags.formats import format_number
from apps.web.templatetags.icons import draw_icon
from apps.web.templatetags.plots import TICK, draw_tip, get_anchor
from apps.web.templatetags.svg_marks import LEVEL, format_coordinate

register = template.Library()
BANDS = 16  # along the axis, each of which tells what lies in it
MAX_TABLE_ROWS = 200  # of the points; the file has them all
MAX_TABLE_CLASSES = 20  # of more a matrix is drawn without numbers
SHADES = 6

Point = tuple[int, float, float]  # row, across, up


# -- scattered points -----------------------------------------------------------------------------------------------
@register.inclusion_tag("components/plot.html")
def dense_scatter_chart(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """Up to some thousand points as one path; bands along the axis tell what lies in them.

    A mapping: `points` (a list of (row, x, y)), `x_unit`, `y_unit`, `guide` (diagonal: both axes are one scale; zero: a
    line across), `of` (rows that they were drawn from), `id`, `csv`.
    """
    points = [point for point in (chart or {}).get("points", ()) if all(map(is_drawable, point[1:]))]
    if chart is None or not points:
        return {"empty": True}
    is_diagonal = chart.get("guide") == "diagonal"
    xs, ys = [x for _row, x, _y in points], [y for _row, _x, y in points]
    across = Scale([*xs, *ys] if is_diagonal else xs, pad=0.04)
    up = Scale([*xs, *ys] if is_diagonal else [0.0, *ys], pad=0.04)
    shown_count, of = len(points), chart.get("of", 0)
    note = _("%(drawn)s rows of %(of)s, drawn by the seed of the run.")
    return {
        "name": chart.get("id", "scatter"),
        "svg": draw_dense_scatter(points, across, up, chart),
        "size": "",
        "head": [_("Row"), chart["x_unit"], chart["y_unit"]],
        "rows": [[format_number(row), format_number(x), format_number(y)] for row, x, y in points[:MAX_TABLE_ROWS]],
        "drawn": shown_count,
        "csv": chart.get("csv", ""),
        "notes": [note % {"drawn": format_number(shown_count), "of": format_number(of)}] if of > shown_count else [],
    }


def is_drawable(value: float) -> bool:
    return math.isfinite(value) and Scale(()).can_place(value)


def draw_dense_scatter(points: Sequence[Point], across: Scale, up: Scale, chart: Mapping[str, Any]) -> SafeString:
    guide = "M0 1000L1000 0" if chart.get("guide") == "diagonal" else f"M0 {place_up(0.0, up)}H1000"
    dots = "".join(f"M{format_coordinate(across.to_percent(x) * 10, 1)} {place_up(y, up)}h0" for _row, x, y in points)
    levels = ((format_coordinate(100 - at), text) for at, text in label_levels(up.compute_ticks()))
    ticks = ((format_coordinate(at), get_anchor(at), format_number(value)) for at, value in across.compute_ticks())
    return format_html(
        '<svg>{}{}<line class="ax" x2="100%" y1="100%" y2="100%"/><text x="-44" y="0" dy="-14">{}</text>'
        '<text x="100%" y="100%" dy="33" text-anchor="end">{}</text>'
        '<svg class="plot" viewBox="0 0 1000 1000" preserveAspectRatio="none"><path class="ln k3" d="{}"/>'
        '<path class="dots" d="{}"/></svg>{}</svg>',
        format_html_join("", LEVEL, levels),
        format_html_join("", TICK, ticks),
        chart["y_unit"],
        chart["x_unit"],
        guide,
        dots,
        format_html_join("", "{}", ((band,) for band in draw_bands(points, across, chart))),
    )


def place_up(value: float, up: Scale) -> str:
    return format_coordinate(1000 - up.to_percent(value) * 10, 1)


BAND = (
    '<svg class="pt" x="{}%" tabindex="0" role="img" aria-label="{}"><rect class="hit" x="-{}%" width="{}%" '
    'height="100%"/>{}</svg>'
)


def draw_bands(points: Sequence[Point], across: Scale, chart: Mapping[str, Any]) -> Iterator[SafeString]:
    """Columns that hold points: from where to where, how many, and their middle and ends upwards."""
    width = 100 / BANDS
    members: dict[int, list[float]] = {}
    for _row, x, y in points:
        members.setdefault(min(BANDS - 1, int(across.to_percent(x) / width)), []).append(y)
    for band, values in sorted(members.items()):
        ends = (across.low + (across.high - across.low) * edge / BANDS for edge in (band, band + 1))
        low, high = (format_number(float(f"{end:.3g}")) for end in ends)
        words = _("%(x)s %(low)s to %(high)s: %(count)s rows, %(y)s median %(median)s (%(least)s to %(most)s)")
        text = words % {
            "x": chart["x_unit"],
            "y": chart["y_unit"],
            "low": low,
            "high": high,
            "count": format_number(len(values)),
            "median": format_number(median(values)),
            "least": format_number(min(values)),
            "most": format_number(max(values)),
        }
        at = (band + 0.5) * width
        half = format_coordinate(width / 2)
        yield format_html(BAND, format_coordinate(at), text, half, format_coordinate(width), draw_tip(text, at))


# -- confusion matrix -----------------------------------------------------------------------------------------------
@register.inclusion_tag("components/confusion.html")
def confusion_matrix(chart: Mapping[str, Any] | None) -> dict[str, Any]:
    """A mapping: `labels`, `counts` (a square, counts[actual][predicted]), `pairs`, `left_out`, `id`, `csv`.

    Few classes are a table with numbers, each cell as dark as its share of the row; of many only the shades are drawn.
    """
    if chart is None or not chart["labels"]:
        return {"empty": True}
    labels, counts = chart["labels"], chart["counts"]
    context = {**chart, "name": chart.get("id", "confusion"), "is_table": len(labels) <= MAX_TABLE_CLASSES}
    if not context["is_table"]:
        return context | {"svg": draw_matrix(counts)}
    rows = []
    for at, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = sum(row)
        cells = [
            {"count": count, "shade": choose_shade(count, total), "is_right": at == to, "of": total, "to": labels[to]}
            for to, count in enumerate(row)
        ]
        rows.append({"label": label, "cells": cells, "total": total})
    return context | {"rows": rows}


def choose_shade(count: int, total: int) -> int:
    """0 for none, else 1 to SHADES by the share."""
    return math.ceil(count / total * SHADES) if count else 0


def draw_matrix(counts: Sequence[Sequence[int]]) -> SafeString:
    """A path for each shade; what is right lies on the diagonal."""
    paths: dict[tuple[bool, int], list[str]] = {}
    for at, row in enumerate(counts):
        total = sum(row)
        for to, count in enumerate(row):
            if count:
                paths.setdefault((at == to, choose_shade(count, total)), []).append(f"M{to} {at}h1v1h-1z")
    size = len(counts)
    return format_html(
        '<svg class="matrix" viewBox="0 0 {0} {0}" role="img" aria-label="{1}">'
        '<rect class="ground" width="{0}" height="{0}"/>{2}</svg>',
        size,
        _("Confusion matrix of %(count)s classes; the file has the numbers.") % {"count": size},
        format_html_join(
            "",
            '<path class="{} s{}" d="{}"/>',
            (
                ("hit" if is_right else "miss", shade, "".join(cells))
                for (is_right, shade), cells in sorted(paths.items())
            ),
        ),
    )


# -- texts ----------------------------------------------------------------------------------------------------------
MARK = '<mark class="span {}">{}<small>{}<span class="sr">{}</span>{}</small></mark>'


@register.simple_tag
def marked_text(pieces: Sequence[Any]) -> SafeString:
    """Pieces {text, label, state} of a text; a mark tells its label, and whether it is right, in words too."""
    words = {"succeeded": _("correct"), "failed": _("wrong")}
    return format_html_join(
        "",
        "{}",
        (
            (
                format_html(
                    MARK,
                    piece.state,
                    piece.text,
                    piece.label,
                    f" {words[piece.state]}" if piece.state else "",
                    draw_icon(piece.state, "") if piece.state else "",
                )
                if piece.label
                else piece.text,
            )
            for piece in pieces
        ),
    )
