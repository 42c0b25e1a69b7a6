"""Coefficients of every pair of columns as a square of coloured cells. `{% load heatmaps %}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apps.core.html import format_html, format_html_join
from apps.web.templatetags.svg_marks import format_coordinate

register = template.Library()
CELL, LABEL, HEAD = 24, 34, 22  # px, per cent of the width, px
LETTERS, NUMBERED, NARROW = 24, 8, 6  # up to so many columns cells have numbers; on a phone too
STRONGEST = 0.3  # ink on a cell stays readable in either scheme


@register.inclusion_tag("components/plot.html")
def heat_map(matrix: Mapping[str, Any] | None, which: str, name: str) -> dict[str, Any]:
    """`told`: `columns` and under `which` the square of coefficients, from -1 to 1, None where there is none."""
    columns = [str(column) for column in (matrix or {}).get("columns") or []]
    square = (matrix or {}).get(which) or []
    if not columns or len(square) != len(columns):
        return {"empty": True}
    left_out = list((matrix or {}).get("left_out") or [])
    notes = [_("Left out: %(names)s") % {"names": ", ".join(map(str, left_out[:30]))}] if left_out else []
    return {
        "name": name,
        "svg": draw_heat_map(columns, square),
        "size": "free",
        "head": ["", *columns],
        "rows": [
            [column, *(format_coefficient(value) for value in row)] for column, row in zip(columns, square, strict=True)
        ],
        "notes": notes,
    }


def draw_heat_map(columns: Sequence[str], square: Sequence[Sequence[float | None]]) -> SafeString:
    """Rows are named and numbered, columns numbered; blue goes with, amber against, the stronger the darker."""
    wide = (100 - LABEL) / len(columns)
    rows = []
    for place, (column, row) in enumerate(zip(columns, square, strict=True)):
        top = HEAD + place * CELL
        name = column if len(column) <= LETTERS else f"{column[: LETTERS - 1]}…"
        rows.append(
            format_html(
                '<svg y="{}" width="{}%" height="{}"><text y="16">{} {}</text></svg>',
                *(top, LABEL - 1, CELL, place + 1, name),
            )
        )
        for at, value in enumerate(row):
            rows.append(draw_cell(LABEL + at * wide, top, wide, value, f"{column}, {columns[at]}", len(columns)))
    heads = (
        (format_coordinate(LABEL + (at + 0.5) * wide), HEAD - 7, at + 1)
        for at in range(len(columns))
        if len(columns) <= 20 or at % 5 == 4
    )
    return format_html(
        '<svg height="{}" role="img" aria-label="{}">{}{}</svg>',
        HEAD + CELL * len(columns),
        _("Coefficients of every pair; the table below has the numbers."),
        format_html_join("", '<text x="{}%" y="{}" text-anchor="middle">{}</text>', heads),
        format_html_join("", "{}", ((row,) for row in rows)),
    )


def draw_cell(left: float, top: int, wide: float, value: float | None, pair: str, columns: int) -> SafeString:
    colour = "var(--running-fg)" if (value or 0) >= 0 else "var(--held-mark,var(--held-fg))"
    text = (
        format_html(
            '<text{} x="{}%" y="{}" text-anchor="middle">{}</text>',
            SafeString(' class="wide"') if columns > NARROW else "",
            *(format_coordinate(left + wide / 2), top + 16, format_coefficient(value)),
        )
        if columns <= NUMBERED
        else ""
    )
    return format_html(
        '<g><title>{}: {}</title><rect x="{}%" y="{}" width="{}%" height="{}" stroke="none" fill="{}" '
        'fill-opacity="{}"/>{}</g>',
        pair,
        format_coefficient(value),
        format_coordinate(left),
        top,
        format_coordinate(wide * 0.98),
        CELL - 1,
        colour,
        format_coordinate(abs(value) * STRONGEST if value is not None else 0),
        text,
    )


def format_coefficient(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")
