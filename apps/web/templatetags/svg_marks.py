"""Marks drawn on the server: digest bars, gauge, bar, histogram.

Every function returns markup without a style attribute or script, so it works under ``default-src 'self'``, and escapes
every text that it is given. Places are per cent of the outer ``<svg>``, which has no viewBox, so text keeps its size.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from django.utils.safestring import SafeString

from apps.core.html import format_html, format_html_join

HEX64 = re.compile(r"[0-9a-f]{8,128}")
BAR_HEIGHT, BAR_TALLEST, BAR_PITCH = 12, 9.9, 3  # px in a 23 x 12 box: eight bars, the lowest still 1 px
MAX_BINS = 20


def parse_hex(value: object) -> str:
    """The hexadecimal part of a digest, lower case; "" when the value is not one."""
    text = str(value or "").strip().lower().removeprefix("sha256:")
    return text if HEX64.fullmatch(text) else ""


def format_coordinate(value: float, digits: int = 2) -> str:
    """A coordinate: rounded, without trailing zeros."""
    return f"{round(value, digits):g}"


def draw_fingerprint(hex_digits: str) -> SafeString:
    """Eight bars for the first eight hex digits: two digests that differ look different before they are read."""
    tops = (BAR_HEIGHT - 1 - int(digit, 16) * BAR_TALLEST / 15 for digit in hex_digits[:8])
    path = "".join(
        f"M{1 + place * BAR_PITCH} {BAR_HEIGHT}V{format_coordinate(top, 1)}" for place, top in enumerate(tops)
    )
    return format_html('<svg class="fp" viewBox="0 0 23 12" aria-hidden="true"><path d="{}"/></svg>', path)


def to_scale_percent(value: float, low: float, high: float) -> float:
    """Where a value lies between low and high, in per cent, held to the scale."""
    if not all(map(math.isfinite, (value, low, high))) or high <= low:
        return 0.0
    return min(100.0, max(0.0, (value - low) / (high - low) * 100))


def draw_gauge(
    value: float,
    low: float,
    high: float,
    limit: float | None = None,
    *,
    at_least: bool = False,
    interval: tuple[float, float] | None = None,
    label: str = "",
    state: str = "",
) -> SafeString:
    """A dot on a scale from low to high with its limit; the forbidden side is dotted.

    ``at_least`` turns the limit into a floor. ``interval`` draws a span on the same scale.
    """
    parts = []
    if limit is None:
        parts.append(SafeString('<line class="ok" x2="100%" y1="8" y2="8"/>'))
    else:
        edge = format_coordinate(to_scale_percent(limit, low, high))
        allowed, refused = ((edge, "100"), ("0", edge)) if at_least else (("0", edge), (edge, "100"))
        for name, (start, end) in (("ok", allowed), ("no", refused)):
            parts.append(format_html('<line class="{}" x1="{}%" x2="{}%" y1="8" y2="8"/>', name, start, end))
        parts.append(format_html('<line class="at" x1="{}%" x2="{}%" y1="2" y2="14"/>', edge, edge))
    if interval is not None:
        start, end = (format_coordinate(to_scale_percent(bound, low, high)) for bound in interval)
        parts.append(format_html('<line class="span" x1="{}%" x2="{}%" y1="8" y2="8"/>', start, end))
    parts.append(format_html('<circle cx="{}%" cy="8" r="5"/>', format_coordinate(to_scale_percent(value, low, high))))
    return format_html(
        '<svg class="gauge {}" role="img" aria-label="{}">{}</svg>',
        state,
        label,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


def draw_bar(value: float, total: float, *, label: str = "", state: str = "", limit: float | None = None) -> SafeString:
    """A share of a whole as one bar; an optional limit stands across it."""
    mark = SafeString("")
    if limit is not None:
        edge = format_coordinate(to_scale_percent(limit, 0, total))
        mark = format_html('<line class="at" x1="{}%" x2="{}%" y1="-1" y2="13"/>', edge, edge)
    return format_html(
        '<svg class="barline {}" role="img" aria-label="{}"><rect class="bg" width="100%" height="12" rx="2"/>'
        '<rect class="fill" width="{}%" height="12" rx="2"/>{}</svg>',
        state,
        label,
        format_coordinate(to_scale_percent(value, 0, total)),
        mark,
    )


def merge_bins(edges: Sequence[float], counts: Sequence[int]) -> tuple[list[float], list[int]]:
    """At most MAX_BINS bins: neighbours are added up, none is dropped.

    Raises ValueError when there is not one edge more than counts.
    """
    if len(edges) != len(counts) + 1:
        raise ValueError(f"histogram needs one edge more than counts, got {len(edges)} edges and {len(counts)} counts")
    step = max(1, math.ceil(len(counts) / MAX_BINS))
    starts = list(range(0, len(counts), step))
    return [*(edges[i] for i in starts), edges[-1]], [sum(counts[i : i + step]) for i in starts]


def compute_heights(counts: Sequence[float], *, log: bool) -> list[float]:
    """Bar heights in per mille of the plot; on a log scale one still shows."""
    scaled = [math.log10(count) + 0.3 if count > 0 else 0.0 for count in counts] if log else [float(c) for c in counts]
    top = max(scaled, default=0) or 1
    return [value / top * 1000 for value in scaled]


def draw_histogram(
    labels: Sequence[str],
    series: Sequence[Sequence[float]],
    tips: Sequence[str],
    *,
    ticks: Sequence[tuple[float, str]] = (),
    levels: Sequence[tuple[float, str]] = (),
    x_unit: str = "",
    y_unit: str = "",
    log: bool = False,
) -> SafeString:
    """Bars of the last series, with the first as an outline when there are two.

    labels and tips have one entry per bin; ticks are (per cent from the left, text), levels (per cent from the top,
    text).
    """
    bins = len(labels)
    width = 1000 / bins if bins else 1000
    joined = compute_heights([value for counts in series for value in counts], log=log)
    bar_heights = [joined[i * bins : (i + 1) * bins] for i in range(len(series))]
    lefts = [format_coordinate(i * width) for i in range(bins)]
    bars = "".join(
        f"M{lefts[i]} 1000V{format_coordinate(1000 - h)}H{format_coordinate((i + 0.9) * width)}V1000z"
        for i, h in enumerate(bar_heights[-1])
        if h
    )
    ghost = ""
    if len(bar_heights) > 1:
        steps = (
            f"V{format_coordinate(1000 - h)}H{format_coordinate((i + 1) * width)}" for i, h in enumerate(bar_heights[0])
        )
        ghost = format_html('<path class="ghost" d="M0 1000{}V1000"/>', "".join(steps))
    points = format_html_join("", POINT, (draw_point(i, h, bins, tips[i]) for i, h in enumerate(bar_heights[-1])))
    return format_html(
        '<svg>{}{}<line class="ax" x2="100%" y1="100%" y2="100%"/><text x="-44" y="0" dy="-14">{}</text>'
        '<text x="100%" y="100%" dy="33" text-anchor="end">{}</text>'
        '<svg class="plot" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
        '<path class="bars" d="{}"/>{}</svg>{}</svg>',
        format_html_join("", LEVEL, ((format_coordinate(y), text) for y, text in levels)),
        format_html_join("", TICK, ((format_coordinate(x), "end" if x > 98 else "middle", text) for x, text in ticks)),
        y_unit,
        x_unit,
        bars,
        ghost,
        points,
    )


LEVEL = '<line class="gl" x2="100%" y1="{0}%" y2="{0}%"/><text x="-8" y="{0}%" dy="4" text-anchor="end">{1}</text>'
TICK = '<text x="{}%" y="100%" dy="17" text-anchor="{}">{}</text>'
POINT = (
    '<svg class="pt" x="{}%" y="{}%" tabindex="0" role="img" aria-label="{}">'
    '<rect class="hit" x="-{}%" y="-{}%" width="{}%" height="100%"/>'
    '<g class="tip"><circle r="3" class="dot"/><rect x="{}" y="-26" width="{}" height="22" rx="4"/>'
    '<text x="{}" y="-11" text-anchor="middle">{}</text></g></svg>'
)


def draw_point(index: int, height: float, bins: int, tip: str) -> tuple[str, ...]:
    """One place that shows its value on hover and focus; the tip opens towards the middle of the chart."""
    place = (index + 0.5) / bins * 100
    wide = sum(13 if ord(letter) > 0x2E7F else 6.5 for letter in tip) + 14
    left = 8.0 if place < 60 else -8 - wide
    top = format_coordinate(100 - height / 10)
    hit = (
        format_coordinate(50 / bins),
        top,
        format_coordinate(100 / bins),
    )  # the whole column answers, a thin bar would be hard to meet
    return (
        format_coordinate(place),
        top,
        tip,
        *hit,
        format_coordinate(left),
        format_coordinate(wide),
        format_coordinate(left + wide / 2),
        tip,
    )


def choose_ticks(edges: Sequence[float], count: int = 5) -> list[tuple[float, float]]:
    """About ``count`` ticks along the edges: (per cent from the left, value)."""
    last = len(edges) - 1
    if last < 1:
        return []
    picks = sorted({round(i * last / (count - 1)) for i in range(count)})
    return [(pick / last * 100, edges[pick]) for pick in picks]


def build_levels(top: float, *, log: bool) -> list[tuple[float, float]]:
    """Round levels for an axis up to ``top``: (per cent from the top, value)."""
    if top <= 0:
        return []
    if log:
        full = math.log10(top) + 0.3
        powers = [10**i for i in range(math.floor(math.log10(top)) + 1)] if top >= 1 else []
        return [(100 - (math.log10(power) + 0.3) / full * 100, power) for power in powers]
    size = 10 ** math.floor(math.log10(top))
    step = next(size * part for part in (0.2, 0.25, 0.5, 1, 2) if top / (size * part) <= 5)
    return [(100 - step * i / top * 100, step * i) for i in range(1, math.floor(top / step) + 1)]


def list_bins(edges: Sequence[float]) -> list[tuple[float, float]]:
    """(from, to) of each bin."""
    return list(pairwise(edges))
