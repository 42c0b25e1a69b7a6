"""Parallel coordinates as SVG: one axis beside the other, one line for each row across them; charts.py makes the tag.

An axis is `key`, `values` (one for each line: a number, a word or None), `words` (in their order; empty for numbers),
`log`, and what it is bounded by: `low`, `high`, `only`. A line is {label, url, place, inside}. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apps.core.html import format_html, format_html_join
from apps.web.templatetags.axes import Scale, label_levels
from apps.web.templatetags.formats import format_number
from apps.web.templatetags.line_plots import STROKES, draw_shape, join_parts
from apps.web.templatetags.plots import draw_tip
from apps.web.templatetags.svg_marks import format_coordinate

# What fits between two axes where the drawing is narrowest, 680 px (.par of components.css)
TICK_LETTERS = 90  # of the values of one axis, times the gaps between the axes
NAME_LETTERS = 64  # of its name, which has the half of a gap on both sides; twice that where every other name is raised
SPOT = (
    '<svg class="pt" x="{}%" y="{}%" overflow="visible" tabindex="0" role="img" aria-label="{}">'
    '<g class="k{}{}">{}</g><circle class="hit" r="9"/>{}</svg>'
)
BAND = (
    '<rect class="brush" x="{}%" width="24" height="100%" transform="translate(-12 0)" data-brush="{}" '
    'data-low="{}" data-high="{}" data-log="{}"/>'
)


class PlacedAxis:
    """Where the values of one axis stand: per cent from its foot."""

    def __init__(self, axis: Any) -> None:
        self.axis = axis
        self.words = {word: (place + 0.5) / len(axis.words) * 100 for place, word in enumerate(axis.words)}
        bounds = [bound for bound in (axis.low, axis.high) if bound is not None]
        self.scale = None if axis.words else Scale([*list_numbers(axis.values), *bounds], log=axis.log, pad=0.04)

    def to_percent(self, value: Any) -> float | None:
        if isinstance(value, str):
            return self.words.get(value)
        return (
            self.scale.to_percent(value) if value is not None and self.scale and self.scale.can_place(value) else None
        )

    def compute_ticks(self) -> list[tuple[float, str]]:
        if self.scale is None:
            return [(at, word) for word, at in self.words.items()]
        return label_levels(self.scale.compute_ticks())

    def find_selected_range(self) -> tuple[float, float] | None:
        """The part that is asked for, from its foot."""
        axis = self.axis
        if not axis.is_bounded:
            return None
        if self.scale is None:
            at, half = self.words.get(axis.only), 50 / max(1, len(axis.words))
            return None if at is None else (at - half, at + half)
        low, high = self.to_percent(axis.low), self.to_percent(axis.high)
        return (0.0 if low is None else low, 100.0 if high is None else high)


def list_numbers(values: Sequence[Any]) -> list[float]:
    return [value for value in values if isinstance(value, float | int)]


def draw_parallel_chart(axes: Sequence[Any], lines: Sequence[Mapping[str, Any]]) -> SafeString:
    """Axes from left to right; the lines that are outside of a range lie faint below the others."""
    placed = [PlacedAxis(axis) for axis in axes]
    order = sorted(lines, key=lambda line: line["inside"])
    return format_html(
        '<svg>{}<svg class="plot" viewBox="0 0 1000 1000" preserveAspectRatio="none">{}</svg>{}{}{}</svg>',
        join_parts(draw_axis(place, placed_axis, len(placed)) for place, placed_axis in enumerate(placed)),
        join_parts(draw_line(line, placed) for line in order),
        join_parts(draw_ticks(place, placed_axis, len(placed)) for place, placed_axis in enumerate(placed)),
        join_parts(draw_brush(place, placed_axis, len(placed)) for place, placed_axis in enumerate(placed)),
        join_parts(draw_spots(line, placed) for line in order),
    )


def place_axis(place: int, count: int) -> float:
    return place / (count - 1) * 100 if count > 1 else 50.0


def draw_axis(place: int, placed_axis: PlacedAxis, count: int) -> SafeString:
    """The axis with its name and the part that is asked for."""
    x, last = place_axis(place, count), place == count - 1
    selected = placed_axis.find_selected_range()
    chosen = SafeString("")
    if selected is not None:
        chosen = format_html(
            '<rect class="held" x="{}%" y="{}%" width="12" height="{}%" transform="translate(-6 0)"/>',
            format_coordinate(x),
            format_coordinate(100 - selected[1]),
            format_coordinate(max(0.5, selected[1] - selected[0])),
        )
    raised = count > 4
    name = _("%(name)s (log)") if placed_axis.axis.log else "%(name)s"
    most = NAME_LETTERS * (1 + raised) // max(2, count - 1) - len(name % {"name": ""})
    return format_html(
        '{}<line class="ax" x1="{}%" x2="{}%" y2="100%"/>'
        '<text class="lbl" x="{}%" y="0" dy="{}" text-anchor="{}">{}<title>{}</title></text>',
        chosen,
        format_coordinate(x),
        format_coordinate(x),
        format_coordinate(x),
        -28 if raised and place % 2 else -12,
        "start" if place == 0 else "end" if last else "middle",
        name % {"name": cut(placed_axis.axis.key, most)},
        placed_axis.axis.key,
    )


def draw_ticks(place: int, placed_axis: PlacedAxis, count: int) -> SafeString:
    """What stands beside an axis, over the lines: its outline in the ground's colour interrupts them."""
    beside, end = (-9, "end") if place == count - 1 else (9, "start")
    x, most = format_coordinate(place_axis(place, count)), TICK_LETTERS // max(1, count - 1)
    return format_html_join(
        "",
        '<text x="{}%" y="{}%" dx="{}" dy="4" text-anchor="{}">{}<title>{}</title></text>',
        (
            (x, format_coordinate(100 - at), beside, end, cut(text, most), text)
            for at, text in placed_axis.compute_ticks()
        ),
    )


def draw_brush(place: int, placed_axis: PlacedAxis, count: int) -> SafeString:
    """What a script lets somebody drag over; its ends are the values at the foot and the top."""
    if placed_axis.scale is None:
        return SafeString("")
    ends = (f"{end:.15g}" for end in (placed_axis.scale.low, placed_axis.scale.high))
    return format_html(
        BAND,
        format_coordinate(place_axis(place, count)),
        placed_axis.axis.key,
        *ends,
        "1" if placed_axis.scale.log else "",
    )


def draw_line(line: Mapping[str, Any], placed: Sequence[PlacedAxis]) -> SafeString:
    """Broken at an axis for which the row has no value."""
    parts, begun = [], False
    for place, placed_axis in enumerate(placed):
        at = placed_axis.to_percent(placed_axis.axis.values[line["place"]])
        if at is None:
            begun = False
            continue
        x = format_coordinate(place_axis(place, len(placed)) * 10, 1)
        parts.append(f"{'L' if begun else 'M'}{x} {format_coordinate(1000 - at * 10, 1)}")
        begun = True
    faint = "" if line["inside"] else " faint"
    return format_html('<path class="ln k{}{}" d="{}"/>', line["place"] % STROKES + 1, faint, "".join(parts))


def draw_spots(line: Mapping[str, Any], placed: Sequence[PlacedAxis]) -> SafeString:
    faint = "" if line["inside"] else " faint"
    spots = []
    for place, placed_axis in enumerate(placed):
        value = placed_axis.axis.values[line["place"]]
        at = placed_axis.to_percent(value)
        if at is None:
            continue
        x = place_axis(place, len(placed))
        text = f"{line['label']}: {placed_axis.axis.key} {format_value(value)}"
        mark = draw_shape(line["place"])
        spots.append(
            (
                format_coordinate(x),
                format_coordinate(100 - at),
                text,
                line["place"] % STROKES + 1,
                faint,
                mark,
                draw_tip(text, x),
            )
        )
    return format_html_join("", SPOT, spots)


def format_value(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else format_number(value)


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
