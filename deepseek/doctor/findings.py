"""What a check concludes: a verdict, and why in one sentence with the figures that were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail", "unknown", "not_applicable"]
VERDICTS: tuple[Verdict, ...] = ("fail", "warn", "unknown", "ok", "not_applicable")
"""The worst first, as reports list them."""
MAX_WHY_CHARACTERS = 500


class Unmeasured(Exception):
    """What a check needs could not be read in time or at all: its verdict is unknown."""


class NotApplicable(Exception):
    """The machine has no such part, or the site has not configured it."""


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    why: str

    def shorten(self) -> Finding:
        """The same on one line of bounded length: a report goes into tables and over the wire."""
        why = " ".join(self.why.split())
        return Finding(self.verdict, why if len(why) <= MAX_WHY_CHARACTERS else f"{why[: MAX_WHY_CHARACTERS - 1]}…")


def passed(why: str) -> Finding:
    return Finding("ok", why)


def warned(why: str) -> Finding:
    return Finding("warn", why)


def failed(why: str) -> Finding:
    return Finding("fail", why)


def grade(value: float, why: str, *, warn: float, fail: float) -> Finding:
    """A figure that is better the lower it is: a warning from `warn` on, a failure from `fail` on."""
    return failed(why) if value >= fail else warned(why) if value >= warn else passed(why)


def grade_floor(value: float, why: str, *, warn: float, fail: float) -> Finding:
    """A figure that is better the higher it is: a warning below `warn`, a failure below `fail`."""
    return failed(why) if value < fail else warned(why) if value < warn else passed(why)
