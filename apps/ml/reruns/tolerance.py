"""The tolerance within which two numbers count as equal. No database access."""

from __future__ import annotations

import math
from dataclasses import dataclass

from apps.core.errors import Invalid
from apps.platform.jobs.spec_validation import combine_errors
from deepseek.messages import N_, Message

RELATIVE, ABSOLUTE = 1e-4, 1e-9  # docs/reruns.md has the measurements behind them
RELATIVE_LIMITS, ABSOLUTE_LIMITS = (0.0, 1.0), (0.0, 1e300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """|a - b| <= max(relative * max(|a|, |b|), absolute), as math.isclose."""

    relative: float = RELATIVE
    absolute: float = ABSOLUTE

    def is_within(self, was: float, now: float) -> bool:
        """NaN says the same as NaN and as nothing else; an infinity only the same as itself."""
        if math.isnan(was) or math.isnan(now):
            return math.isnan(was) and math.isnan(now)
        return math.isclose(was, now, rel_tol=self.relative, abs_tol=self.absolute)

    def as_dict(self) -> dict[str, float]:
        return {"relative": self.relative, "absolute": self.absolute}


def build_tolerance(relative: float | None, absolute: float | None) -> Tolerance:
    """The tolerance that is asked for; None takes the default. Raises Invalid with every error found."""
    errors = []
    for name, value, (low, high) in (
        ("relative", relative, RELATIVE_LIMITS),
        ("absolute", absolute, ABSOLUTE_LIMITS),
    ):
        if value is not None and not low <= value <= high:  # also NaN
            errors.append(
                {
                    "code": "out_of_range",
                    "message": Message(
                        "/tolerance/{name}: {value} is not in {low:g} to {high:g}.",
                        name=name,
                        value=value,
                        low=low,
                        high=high,
                    ),
                    "field": f"/tolerance/{name}",
                    "limit": f"{low:g}..{high:g}",
                    "hint": Message("0 asks for equal numbers."),
                }
            )
    if errors:
        raise combine_errors(errors)
    return Tolerance(
        relative=RELATIVE if relative is None else float(relative),
        absolute=ABSOLUTE if absolute is None else float(absolute),
    )


def parse_tolerance_number(text: str, name: str) -> float | None:
    """A tolerance as a form or a query writes it; None for nothing. Raises Invalid for what is no number."""
    if not text.strip():
        return None
    try:
        return float(text.strip()[:40])
    except ValueError:
        raise Invalid(
            "/tolerance/{name}: {text!r} is no number.",
            name=name,
            text=text[:40],
            field=f"/tolerance/{name}",
            limit="a number",
            hint=N_("For instance 0.0001 or 1e-9."),
        ) from None


def compute_difference(was: float, now: float) -> tuple[float, float]:
    """(absolute, relative) difference of two numbers; (0, 0) for equal ones and for NaN beside NaN.

    Infinite where only one of them is NaN or infinite: there is no measure for it.
    """
    if was == now or (math.isnan(was) and math.isnan(now)):
        return 0.0, 0.0
    if not (math.isfinite(was) and math.isfinite(now)):
        return math.inf, math.inf
    distance = abs(was - now)
    return distance, distance / max(abs(was), abs(now))
