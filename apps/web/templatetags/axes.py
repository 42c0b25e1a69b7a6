"""From values to places: scales, round ticks for numbers, spans of time and moments; and how a line is smoothed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import pgettext

from apps.web.templatetags.formats import MINUS, format_duration, format_number

MAX_ABS_VALUE = 1e100  # beyond it an axis with its margin would leave the numbers that there are; such a value is a gap
TICK_STEPS_SECONDS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
)
MAX_TICKS = 6  # ticks of an axis that is told in words
MAX_LEVEL_LETTERS = 7  # characters in the margin before a chart
MIN_SPAN = 1e-300  # a span below it is drawn, and has no ticks of its own
CALENDAR = (-62_100_000_000.0, 253_300_000_000.0)  # the years 2 to 9996: in any zone a moment that Python can say


class Scale:
    """From a value to per cent of the axis; a logarithmic one knows no value of zero or below."""

    def __init__(
        self, values: Iterable[float], *, log: bool = False, pad: float = 0.0, holding: Sequence[float] = ()
    ) -> None:
        """`holding`: the low end, and the high one where it is known, that the axis has whatever it draws."""
        self.log = log
        positions = [self.transform(value) for value in (*values, *holding) if self.can_place(value)]
        low, high = (min(positions), max(positions)) if positions else (0.0, 1.0)
        room = (high - low) * pad or (0.0 if high > low else abs(low) * 0.1 or 1.0)
        self.low = low if low in holding[:1] else low - room
        self.high = high if high in holding[1:] else high + room

    def can_place(self, value: float | None) -> bool:
        return value is not None and abs(value) < MAX_ABS_VALUE and (not self.log or value > 0)

    def transform(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def to_percent(self, value: float) -> float:
        """0 at the low end, 100 at the high one."""
        return (self.transform(value) - self.low) / (self.high - self.low) * 100

    def compute_ticks(self, *, integers: bool = False) -> list[tuple[float, float]]:
        """About five round values on the axis: (per cent, value)."""
        if self.log and self.high - self.low >= 0.7:
            first, last = math.floor(self.low), math.ceil(self.high)
            every, parts = max(1, (last - first) // 6), (1, 2, 5) if last - first <= 3 else (1,)
            values = [part * 10.0**power for power in range(first, last + 1, every) for part in parts]
        else:
            low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
            values = list_multiples(low, high, round_step(high - low, integers=integers))
        return self.place_values(values)

    def place_values(self, values: Iterable[float]) -> list[tuple[float, float]]:
        positions = [(self.to_percent(value), value) for value in values if self.can_place(value)]
        return [(place, value) for place, value in positions if -1e-6 <= place <= 100 + 1e-6]


def list_multiples(low: float, high: float, step: float) -> list[float]:
    """The multiples of `step` from low to high."""
    return [step * count for count in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def round_step(span: float, *, integers: bool = False) -> float:
    """1, 2 or 5 times a power of ten that parts the span in three to seven; whole numbers are wide, so in five."""
    span = max(span, MIN_SPAN)
    size, most = 10.0 ** math.floor(math.log10(span / 5)), 5 if integers else 7
    step = next(size * part for part in (1, 2, 5, 10) if span / (size * part) <= most)
    return max(1.0, step) if integers else step


# -- what an axis along which time or steps run says ----------------------------------------------------------------
AxisFormatter = Callable[[float], str]


def get_axis_formatter(kind: str) -> AxisFormatter:
    """How a place on an axis of this kind is said: step, relative (seconds since a start) or time (of the epoch)."""
    return {"relative": format_duration, "time": format_moment}.get(kind, format_step)


def to_local_time(seconds: float) -> datetime:
    """Convert seconds since 1970 to the reader's time zone, clamped to the years that a calendar has."""
    first, last = CALENDAR
    return timezone.localtime(datetime.fromtimestamp(min(max(seconds, first), last), UTC))


def format_level(value: float) -> str:
    """A value beside its line across the chart; what is too long for the margin is told by its power of ten."""
    text = format_number(value)
    if len(text) <= MAX_LEVEL_LETTERS:
        return text
    shorter = [shorten_exponent(f"{value:.{digits}g}").replace("-", MINUS) for digits in (3, 2, 1)]
    return next((text for text in shorter if len(text) <= MAX_LEVEL_LETTERS), shorter[-1])


def shorten_exponent(text: str) -> str:
    """1.26e+06 -> 1.26e6, which the margin has room for."""
    digits, _e, power = text.partition("e")
    return f"{digits}e{int(power)}" if power else text


def format_levels(values: Sequence[float]) -> list[str]:
    """The values of an axis, each with the decimals that tell it from the next, as far as the margin has room for it;
    else only those that a shorter word says rightly, and the other lines are bare.
    """
    texts = [format_level(value) for value in values]
    apart = min((high - low for low, high in pairwise(values)), default=math.inf)
    right = [
        text if abs(parse_level(text) - value) < apart / 10 else "" for text, value in zip(texts, values, strict=True)
    ]
    if all(right):
        return texts
    decimals = max(0, -math.floor(math.log10(apart) + 1e-9))
    finer = [f"{value:.{decimals}f}".replace("-", MINUS) for value in values]
    if max(map(len, finer)) <= MAX_LEVEL_LETTERS:
        return finer
    return right if any(right) else texts


def label_levels(ticks: Sequence[tuple[float, float]]) -> list[tuple[float, str]]:
    """(per cent, text) of the lines across a chart."""
    texts = format_levels([value for _, value in ticks])
    return [(at, text) for (at, _), text in zip(ticks, texts, strict=True)]


def parse_level(text: str) -> float:
    return float(text.replace(",", "").replace(MINUS, "-"))


def format_step(value: float) -> str:
    return format_number(int(value)) if value == int(value) else format_number(value)


def format_moment(seconds: float) -> str:
    """A moment in the zone of the server; the browser writes its own over it."""
    local = to_local_time(seconds)
    # Translators: Django date format of a moment on the axis of a chart
    return date_format(local, pgettext("date format", "j M H:i:s"))


def build_ticks(kind: str, across: Scale) -> list[tuple[float, float, str]]:
    """(per cent, value, text) along the axis."""
    if kind == "step":
        return [(place, value, format_step(value)) for place, value in across.compute_ticks(integers=True)]
    span = across.high - across.low
    step = next(
        (seconds for seconds in TICK_STEPS_SECONDS if span / seconds <= MAX_TICKS),
        math.ceil(span / MAX_TICKS / 604800) * 604800,
    )
    if kind == "relative":
        step = step if span > MAX_TICKS else round_step(span)
        return [
            (place, value, format_duration(value))
            for place, value in across.place_values(list_multiples(*get_ends(across), step))
        ]
    walls = list_multiples(
        across.low + get_utc_offset(across.low), across.high + get_utc_offset(across.high), float(step)
    )
    values = [to_utc(wall) for wall in walls]
    return [(place, value, format_moment_short(value, step)) for place, value in across.place_values(values)]


def get_utc_offset(seconds: float) -> float:
    """Seconds by which the reader's clock is ahead of UTC at that moment."""
    shift = to_local_time(seconds).utcoffset()
    return shift.total_seconds() if shift else 0.0


def to_utc(wall: float) -> float:
    """The moment at which the reader's clock shows this; on the day on which it is put forward or back, too."""
    guess = wall - get_utc_offset(wall)
    return wall - get_utc_offset(guess)


def get_ends(scale: Scale) -> tuple[float, float]:
    return scale.low, scale.high


def format_moment_short(seconds: float, step: float) -> str:
    local = to_local_time(seconds)
    if step >= 43200:
        # Translators: Django date format of a day on the axis of a chart
        return date_format(local, pgettext("date format", "j M"))
    return f"{local:%H:%M}" if step >= 60 else f"{local:%H:%M:%S}"


# -- smoothing ------------------------------------------------------------------------------------------------------
def apply_smoothing(means: Sequence[tuple[float, float, int]], weight: float) -> list[tuple[float, float]]:
    """The exponential moving average of (place, mean, points), freed of its bias towards the start.

    Each value keeps `weight` of the one before; divided by what all weights add up to, the first is itself. Of points
    that were pooled the mean counts as often as there are points: so a thinned line is smoothed like the whole one.
    """
    last = mass = 0.0
    averages = []
    for place, mean, points in means:
        keep = weight**points
        last, mass = last * keep + mean * (1 - keep), mass * keep + (1 - keep)
        averages.append((place, last / mass))
    return averages
