"""How a column's values lie: numbers and dates as a histogram, text and flags as bars. `{% load distributions %}`."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from django import template
from django.utils.translation import gettext as _

from apps.data.datasets.quality.distributions import ColumnDistribution
from apps.web.templatetags import base_tags, svg_marks
from apps.web.templatetags.formats import format_number

register = template.Library()
DAY = 86_400


@register.inclusion_tag("components/histogram.html")
def render_distribution(
    column: ColumnDistribution, earlier: str = "", now: str = "", *, log: bool = False
) -> dict[str, Any]:
    """The histogram of numbers or dates; `earlier` and `now` name the two where one lies over the other."""
    counts = [round(count) for count in column.counts]
    before = [round(count) for count in column.before] if column.before is not None else None
    names = (earlier, now) if before is not None and earlier and now else ()
    if column.kind == "dates":
        return build_date_histogram(column.edges, counts, before, names, log=bool(log))
    return base_tags.histogram(
        column.edges, counts, before=before, unit=column.name, count_unit=_("rows"), names=names, log=bool(log)
    )


def build_date_histogram(
    edges: list[float], counts: list[int], before: list[int] | None, names: tuple[str, ...], *, log: bool
) -> dict[str, Any]:
    """As `histogram`, its edges said as dates."""
    pooled, after = svg_marks.merge_bins(edges, counts)
    series = [svg_marks.merge_bins(edges, before)[1], after] if before is not None else [after]
    exact = pooled[-1] - pooled[0] < 3 * DAY
    moments = [format_date(edge, exact=exact) for edge in pooled]
    spans = [_("%(low)s to %(high)s") % {"low": a, "high": b} for a, b in pairwise(moments)]
    rows = list(zip(spans, *series, strict=True))
    svg = svg_marks.draw_histogram(
        spans,
        series,
        [f"{row[0]}: " + " → ".join(format_number(count) for count in row[1:]) for row in rows],
        ticks=[(place, format_date(edge, exact=exact)) for place, edge in svg_marks.choose_ticks(pooled, 3)],
        levels=[
            (place, format_number(level))
            for place, level in svg_marks.build_levels(max(max(values) for values in series), log=False)
        ],
        x_unit="",
        y_unit=_("rows") + (_(", log scale") if log else ""),
        log=log,
    )
    default = (_("before"), _("after")) if before is not None else (_("rows"),)
    return {"svg": svg, "rows": rows, "names": names or default, "unit": _("from, to")}


def format_date(edge: float, *, exact: bool) -> str:
    """A date; with its time where the whole span is short."""
    at = datetime.fromtimestamp(edge, UTC)
    return f"{at:%Y-%m-%d %H:%M}" if exact else f"{at:%Y-%m-%d}"
