"""Parallel coordinates as SVG: one axis beside the other, one line for each row across them; charts.py makes the tag.

An axis is `key`, `values` (one for each line: a number, a word or None), `words` (in their order; empty for numbers),
`log`, and what it is bounded by: `low`, `high`, `only`. A line is {label, url, place, inside}. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apps.web.templatetags.axes import Scale, leveled
from apps.web.templatetags.formats import number
from apps.web.templatetags.line_plots import STROKES, joined, shape
from apps.web.templatetags.plots import tip
from apps.web.templatetags.svg_marks import plain

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


class Placed:
    """Where the values of one axis stand: per cent from its foot."""

    def __init__(self, axis: Any) -> None:
        self.axis = axis
        self.words = {word: (place + 0.5) / len(axis.words) * 100 for place, word in enumerate(axis.words)}
        bounds = [bound for bound in (axis.low, axis.high) if bound is not None]
        self.scale = None if axis.words else Scale([*numbers(axis.values), *bounds], log=axis.log, pad=0.04)

    def share(self, value: Any) -> float | None:
        if isinstance(value, str):
            return self.words.get(value)
        return self.scale.share(value) if value is not None and self.scale and self.scale.holds(value) else None

    def ticks(self) -> list[tuple[float, str]]:
        if self.scale is None:
            return [(at, word) for word, at in self.words.items()]
        return leveled(self.scale.ticks())

    def held(self) -> tuple[float, float] | None:
        """The part that is asked for, from its foot."""
        axis = self.axis
        if not axis.is_bounded:
            return None
        if self.scale is None:
            at, half = self.words.get(axis.only), 50 / max(1, len(axis.words))
            return None if at is None else (at - half, at + half)
        low, high = self.share(axis.low), self.share(axis.high)
        return (0.0 if low is None else low, 100.0 if high is None else high)


def numbers(values: Sequence[Any]) -> list[float]:
    return [value for value in values if isinstance(value, float | int)]


def parallel_svg(axes: Sequence[Any], lines: Sequence[Mapping[str, Any]]) -> SafeString:
    """Axes from left to right; the lines that are outside of a range lie faint below the others."""
    placed = [Placed(axis) for axis in axes]
    order = sorted(lines, key=lambda line: line["inside"])
    return format_html(
        '<svg>{}<svg class="plot" viewBox="0 0 1000 1000" preserveAspectRatio="none">{}</svg>{}{}{}</svg>',
        joined(ground(place, one, len(placed)) for place, one in enumerate(placed)),
        joined(line_of(line, placed) for line in order),
        joined(ticks(place, one, len(placed)) for place, one in enumerate(placed)),
        joined(band(place, one, len(placed)) for place, one in enumerate(placed)),
        joined(spots_of(line, placed) for line in order),
    )


def across(place: int, count: int) -> float:
    return place / (count - 1) * 100 if count > 1 else 50.0


def ground(place: int, one: Placed, count: int) -> SafeString:
    """The axis with its name and the part that is asked for."""
    x, last = across(place, count), place == count - 1
    held = one.held()
    chosen = SafeString("")
    if held is not None:
        chosen = format_html(
            '<rect class="held" x="{}%" y="{}%" width="12" height="{}%" transform="translate(-6 0)"/>',
            plain(x),
            plain(100 - held[1]),
            plain(max(0.5, held[1] - held[0])),
        )
    raised = count > 4
    name = _("%(name)s (log)") if one.axis.log else "%(name)s"
    most = NAME_LETTERS * (1 + raised) // max(2, count - 1) - len(name % {"name": ""})
    return format_html(
        '{}<line class="ax" x1="{}%" x2="{}%" y2="100%"/>'
        '<text class="lbl" x="{}%" y="0" dy="{}" text-anchor="{}">{}<title>{}</title></text>',
        chosen,
        plain(x),
        plain(x),
        plain(x),
        -28 if raised and place % 2 else -12,
        "start" if place == 0 else "end" if last else "middle",
        name % {"name": cut(one.axis.key, most)},
        one.axis.key,
    )


def ticks(place: int, one: Placed, count: int) -> SafeString:
    """What stands beside an axis, over the lines: its outline in the ground's colour interrupts them."""
    beside, end = (-9, "end") if place == count - 1 else (9, "start")
    x, most = plain(across(place, count)), TICK_LETTERS // max(1, count - 1)
    return format_html_join(
        "",
        '<text x="{}%" y="{}%" dx="{}" dy="4" text-anchor="{}">{}<title>{}</title></text>',
        ((x, plain(100 - at), beside, end, cut(text, most), text) for at, text in one.ticks()),
    )


def band(place: int, one: Placed, count: int) -> SafeString:
    """What a script lets somebody drag over; its ends are the values at the foot and the top."""
    if one.scale is None:
        return SafeString("")
    ends = (f"{end:.15g}" for end in (one.scale.low, one.scale.high))
    return format_html(BAND, plain(across(place, count)), one.axis.key, *ends, "1" if one.scale.log else "")


def line_of(line: Mapping[str, Any], placed: Sequence[Placed]) -> SafeString:
    """Broken at an axis for which the row has no value."""
    parts, begun = [], False
    for place, one in enumerate(placed):
        at = one.share(one.axis.values[line["place"]])
        if at is None:
            begun = False
            continue
        parts.append(f"{'L' if begun else 'M'}{plain(across(place, len(placed)) * 10, 1)} {plain(1000 - at * 10, 1)}")
        begun = True
    faint = "" if line["inside"] else " faint"
    return format_html('<path class="ln k{}{}" d="{}"/>', line["place"] % STROKES + 1, faint, "".join(parts))


def spots_of(line: Mapping[str, Any], placed: Sequence[Placed]) -> SafeString:
    faint = "" if line["inside"] else " faint"
    found = []
    for place, one in enumerate(placed):
        value = one.axis.values[line["place"]]
        at = one.share(value)
        if at is None:
            continue
        x = across(place, len(placed))
        said = f"{line['label']}: {one.axis.key} {said_of(value)}"
        mark = shape(line["place"])
        found.append((plain(x), plain(100 - at), said, line["place"] % STROKES + 1, faint, mark, tip(said, x)))
    return format_html_join("", SPOT, found)


def said_of(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else number(value)


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
