"""Numbers, sizes, shares and times as people read them. Pure functions; base_tags.py registers them as filters."""

import math
import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal

from django.template.defaultfilters import truncatechars
from django.utils.formats import date_format
from django.utils.translation import gettext, pgettext

NONE = "–"
MINUS = "−"
JUST_NOW_SECONDS = 45
RELATIVE_SECONDS = 7 * 86_400  # from there on a moment is a date


def as_number(value: object) -> float | None:
    """A finite number, or None."""
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def group_digits(value: float, decimals: int) -> str:
    """With thousands separators and a true minus sign."""
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def format_number(value: object, decimals: int | None = None) -> str:
    """Thousands separators. Without ``decimals`` a whole number stays whole, others keep four significant digits."""
    amount = as_number(value)
    if amount is None:
        return NONE if value is None or value == "" or isinstance(value, float) else str(value)
    if decimals is not None:
        return group_digits(amount, int(decimals))
    if isinstance(value, int | Decimal | str) and amount == int(amount):
        return group_digits(int(amount), 0)
    if amount == 0:
        return "0"
    size = math.floor(math.log10(abs(amount)))
    if size < -4:  # as %g does: the ends of an interval read alike
        return f"{amount:.4g}".replace("-", MINUS)  # of the exponent too: at a hyphen a line may break
    text = group_digits(amount, max(0, 3 - size))
    return text.rstrip("0").rstrip(".") if "." in text else text


def truncate_text(value: object, limit: int) -> str:
    """Django's `truncatechars`, which counts every character in Python: what is short enough is returned at once."""
    text = str(value)
    if isinstance(limit, int) and len(text) <= limit and (text.isascii() or unicodedata.is_normalized("NFC", text)):
        return text if limit > 0 else ""
    return truncatechars(text, limit)


def format_bytes(value: object) -> str:
    """Bytes in powers of 1000, one decimal: 57.1 kB."""
    amount = as_number(value)
    if amount is None:
        return NONE
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if abs(amount) < 999.95 or unit == "PB":
            break
        amount /= 1000
    return f"{group_digits(amount, 0 if unit == 'B' else 1)} {unit}"


def format_share(value: object, total: object = 1) -> str:
    """``value`` of ``total`` in per cent, one decimal at most; "–" when there is no whole."""
    part, base = as_number(value), as_number(total)
    if part is None or not base:
        return NONE
    return f"{group_digits(part / base * 100, 1).removesuffix('.0')} %"


def format_duration(value: object) -> str:
    """Seconds (or a timedelta) in its two largest units: 70 ms, 0.31 s, 1 min 27 s, 2 h 7 min, 3 d 4 h."""
    seconds = as_number(value.total_seconds() if isinstance(value, timedelta) else value)
    if seconds is None:
        return NONE
    sign, seconds = (MINUS if seconds < 0 else ""), abs(seconds)
    if seconds < 0.1:
        return sign + gettext("%(n)s ms") % {"n": f"{seconds * 1000:.0f}"}
    if seconds < 10:
        return sign + gettext("%(n)s s") % {"n": f"{seconds:.2f}".rstrip("0").rstrip(".")}
    rest = round(seconds)
    units = (
        (86400, gettext("%(n)s d")),
        (3600, gettext("%(n)s h")),
        (60, gettext("%(n)s min")),
        (1, gettext("%(n)s s")),
    )
    parts: list[tuple[int, str]] = []
    for size, words in units:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, words))
    return sign + " ".join(words % {"n": f"{count:,}"} for count, words in parts[:2] if count)


def format_short_time(moment: datetime, now: datetime) -> str:
    """14:48:02 today, 24 Nov 14:48 this year, 2025-09-29 14:48 before."""
    if moment.date() == now.date():
        return f"{moment:%H:%M:%S}"
    if moment.year == now.year:
        # Translators: Django date format for a moment of this year
        return date_format(moment, pgettext("date format", "j M H:i"))
    return f"{moment:%Y-%m-%d %H:%M}"


def format_relative_time(moment: datetime, now: datetime) -> str:
    """just now, 12 min ago, 3 h ago, 2 d ago, in 5 min; a week away and more as a date."""
    seconds = (now - moment).total_seconds()
    distance = abs(seconds)
    if distance >= RELATIVE_SECONDS:
        return format_short_time(moment, now)
    if distance < JUST_NOW_SECONDS:
        return gettext("just now")
    unit = next(size for size in (86_400, 3_600, 60) if distance >= size or size == 60)
    count = max(1, int(distance // unit))
    past = {86_400: gettext("%(n)s d ago"), 3_600: gettext("%(n)s h ago"), 60: gettext("%(n)s min ago")}
    future = {86_400: gettext("in %(n)s d"), 3_600: gettext("in %(n)s h"), 60: gettext("in %(n)s min")}
    return (past if seconds > 0 else future)[unit] % {"n": count}
