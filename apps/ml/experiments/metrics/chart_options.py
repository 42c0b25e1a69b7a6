"""Chart options from the query string: axis, smoothing, scale, visible range and hidden lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from apps.core.errors import Invalid
from apps.core.request_values import parse_int, validate_choice
from apps.ml.experiments.filters.sql import EPOCH, FIRST_MS, LAST_MS
from apps.ml.experiments.metrics import lines
from apps.ml.experiments.metrics.lines import AXES, Line, Window, parse_window
from apps.ml.experiments.models import Metric, Run
from deepseek.messages import N_, Message

SCALES = ("", "linear", "log")
SMOOTHEST = 0.999
LOG_RATIO = 30  # a span of values above it is drawn on a logarithmic scale, unless asked otherwise
FARTHEST = 1e10  # s, of a part in time: three hundred years
NAMES = ("x", "smooth", "scale", "from", "to", "part", "hide")


@dataclass(frozen=True, slots=True)
class ChartOptions:
    axis: str = ""  # of AXES; empty: the usual one
    smooth: float = 0.0  # weight of the moving average; 0 leaves the line as it is
    scale: str = ""  # linear, log, or what suits the values
    window: Window = field(default_factory=Window)
    part: tuple[str, float, float] | None = None  # an axis of time and its ends in s; of another axis it says nothing
    hidden: tuple[int, ...] = ()
    usual: str = "step"  # the axis where the address names none

    @property
    def ends(self) -> tuple[float, float] | None:
        """The part in time that is looked at. Steps that are asked for go before it."""
        return self.part[1:] if self.part and self.part[0] == self.axis and not self.window else None

    @property
    def as_query(self) -> dict[str, str]:
        """As the form shows it."""
        start, end = self.window.start, self.window.end
        return {
            "x": self.axis,
            "usual": self.usual,
            "smooth": f"{self.smooth:g}" if self.smooth else "",
            "scale": self.scale,
            "from": "" if start is None else str(start),
            "to": "" if end is None else str(end),
            "part": f"{self.axis},{self.ends[0]:.15g},{self.ends[1]:.15g}" if self.ends else "",
        }


def parse_chart_options(query: QueryDict) -> ChartOptions:
    """Parse the chart options of a query. Raises Invalid."""
    return ChartOptions(
        axis=validate_option("x", query.get("x", ""), ("", *AXES)),
        smooth=parse_weight(query.get("smooth", "")),
        scale=validate_option("scale", query.get("scale", ""), SCALES),
        window=parse_window(query.get("from", ""), query.get("to", "")),
        part=parse_time_range(query.get("part", "")),
        hidden=tuple(
            number for part in query.get("hide", "")[:100].split(",") if (number := parse_int(part)) is not None
        ),
    )


def parse_options_or_error(query: QueryDict) -> tuple[ChartOptions, Invalid | None]:
    """Parse the chart options, or return the defaults and the error."""
    try:
        return parse_chart_options(query), None
    except Invalid as error:
        return ChartOptions(), error


def fit_axis(look: ChartOptions, metrics: Sequence[Metric], stepless: str = "time") -> ChartOptions:
    """The look along the axis that is asked for, else along the steps; along `stepless` where nobody counted any: all
    points of such a metric are at one step.
    """
    counted = any(metric.first_step != metric.step for metric in metrics)
    usual = "step" if counted or all(metric.count <= 1 for metric in metrics) else stepless
    return replace(look, axis=look.axis or usual, usual=usual)


def validate_option(field: str, value: str, choices: Sequence[str]) -> str:
    validate_choice(field, value, choices, N_("{found!r} is unknown."), required=True)
    return value


def parse_weight(text: str) -> float:
    if not text.strip():
        return 0.0
    try:
        weight = float(text[:20])
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= SMOOTHEST:
        raise Invalid("{text!r} is no weight of smoothing.", text=text[:20], field="smooth", limit=f"0 to {SMOOTHEST}")
    return weight


def parse_time_range(text: str) -> tuple[str, float, float] | None:
    """`axis,low,high`: what a drag over an axis of time asks for."""
    if not text.strip():
        return None
    axis, *rest = text[:100].split(",")
    try:
        low, high = map(float, rest)
    except ValueError:
        low = high = math.nan
    if axis not in AXES[1:] or not -FARTHEST <= low < high <= FARTHEST:
        raise Invalid(
            "{text!r} is no part of an axis of time.",
            text=text[:60],
            field="part",
            limit="relative or time, and two numbers of s",
        )
    return axis, low, high


def list_kept_params(query: QueryDict, *names: str) -> list[tuple[str, str]]:
    """What else the address says, which the form carries on; without what it asks for itself."""
    return [(key, value) for key in query if key not in NAMES and key not in names for value in query.getlist(key)]


# -- lines as they are looked at ------------------------------------------------------------------------------------
def load_lines(metrics: Sequence[Metric], runs: Iterable[Run], look: ChartOptions) -> list[Line]:
    """The lines of these metrics of these runs, along the axis and in the part that is looked at."""
    starts = {run.pk: run.started_at if look.axis == "relative" else EPOCH for run in runs}
    times = None
    if look.ends:
        low, high = look.ends
        times = {pk: (shift_time(start, low), shift_time(start, high)) for pk, start in starts.items()}
    places = {"time": lines.locate_by_time, "relative": lines.build_relative_locator(starts)}
    place = places.get(look.axis, lines.locate_by_step)
    return lines.load_lines(metrics, place=place, window=look.window, times=times)


def shift_time(start: datetime, seconds: float) -> datetime:
    """So many seconds later, or earlier; the end of the calendar where that lies beyond it."""
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return EPOCH + timedelta(milliseconds=LAST_MS if seconds > 0 else FIRST_MS)


def build_series(line: Line | None, label: str, url: str = "", short: str = "") -> dict[str, Any]:
    """A line as the chart takes it; without one its place, and so the strokes of the others, stay what they are."""
    drawn_line = line or Line(Metric())
    values = {
        "points": drawn_line.points,
        "means": drawn_line.means,
        "odd": drawn_line.odd,
        "thinned": drawn_line.thinned,
    }
    return {"label": label, "url": url, "short": short, **values}


def is_log(series: Sequence[Mapping[str, Any]], scale: str) -> bool:
    """Whether the values are drawn on a logarithmic axis: asked for, or because they span so much."""
    values = [value for line in series for _place, value in line["points"] if value is not None]
    positive = [value for value in values if value > 0]
    suits = len(positive) == len(values) > 0 and max(positive) / min(positive) > LOG_RATIO
    return bool(positive) and (scale == "log" or (scale != "linear" and suits))


def build_chart(series: Sequence[Mapping[str, Any]], look: ChartOptions, *, y_unit: str, **more: Any) -> dict[str, Any]:
    """The chart for templatetags/charts.py."""
    log = is_log(series, look.scale)
    notes = []
    if any(line["thinned"] for line in series):
        notes.append(_("Each pair of points is the lowest and the highest value of some steps."))
    if odd := sum(line["odd"] for line in series):
        notes.append(Message("{count} points are no number.", count=f"{odd:,}"))
    return {
        "series": series,
        "axis": look.axis,
        "x_unit": {"relative": _("since the start"), "time": _("time")}.get(look.axis, _("step")),
        "y_unit": y_unit + (_(", log scale") if log else ""),
        "log": log,
        "smooth": look.smooth,
        "span": get_span(series, look),
        "hidden": look.hidden,
        "zoom": True,
        "note": " ".join(notes),
        **more,
    }


def get_span(series: Sequence[Mapping[str, Any]], look: ChartOptions) -> tuple[float, float] | None:
    """The ends of the axis where a part is looked at: as asked for along it, and where the lines end else."""
    if look.ends:
        return look.ends
    places = [place for line in series for place, _value in line["points"]]
    if look.axis != "step" or not look.window or not places:
        return None
    low = min(places) if look.window.start is None else look.window.start
    high = max(places) if look.window.end is None else look.window.end
    return (low, high) if high > low else None
