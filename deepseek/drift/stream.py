"""ADWIN2 on a stream of errors: a window that grows while its mean stays, and drops its old part when that changes.

A. Bifet and R. Gavalda (2007), Learning from time-changing data with adaptive windowing, SIAM SDM. The same detections
as river's `AdaptiveWindowing`, with a state of plain JSON that outlives a process and a version of a library; river's
own is a memory image of its compiled code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deepseek.job import EngineError
from deepseek.messages import N_

SCHEMA = "plane/adwin/v1"


@dataclass(frozen=True)
class Detection:
    """A change: after so many errors in all, the mean of the part that was dropped, and of the one that stays."""

    at: int
    before: float
    after: float
    width: int

    @property
    def is_worse(self) -> bool:
        return self.after > self.before


class Adwin:
    """The adaptive window of errors. Each is divided by `scale`, which should be about the greatest: the bound takes
    values from 0 to 1. What is not finite is skipped and counted.

    `delta`: the significance of a cut. `clock`: errors between two searches for one. `max_buckets` of each size,
    `min_window`: the least length of either part, `grace_period`: errors before the first search; as in river.
    """

    def __init__(
        self,
        delta: float = 0.002,
        *,
        scale: float = 1.0,
        clock: int = 32,
        max_buckets: int = 5,
        min_window: int = 5,
        grace_period: int = 10,
    ) -> None:
        if not 0 < delta < 1 or not (math.isfinite(scale) and scale > 0):
            raise EngineError(
                "bad_adwin",
                N_("ADWIN needs a delta between 0 and 1, and a scale above 0."),
                field="/delta" if not 0 < delta < 1 else "/scale",
                value=str(delta if not 0 < delta < 1 else scale),
                limit="0 < delta < 1, scale > 0",
                hint=N_("Give 0.002, and the greatest usual error."),
            )
        self.delta, self.scale, self.clock = delta, scale, clock
        self.max_buckets, self.min_window, self.grace_period = max_buckets, min_window, grace_period
        self.width = self.ticks = self.detections = self.skipped = 0
        self.total = self.squares = 0.0
        self.rows: list[list[tuple[float, float]]] = [[]]
        """Level by level, the newest first: buckets of 2^level errors, as (sum, sum of squared deviations)."""

    @property
    def mean(self) -> float | None:
        """Of the window, in the unit of the errors."""
        return self.scale * self.total / self.width if self.width else None

    def update_many(self, errors: Iterable[float]) -> list[Detection]:
        return [change for error in errors if (change := self.update(error)) is not None]

    def update(self, error: float) -> Detection | None:
        if not math.isfinite(error):
            self.skipped += 1
            return None
        value = error / self.scale
        if self.width:
            self.squares += self.width * (value - self.total / self.width) ** 2 / (self.width + 1)
        self.width += 1
        self.total += value
        self.rows[0].append((value, 0.0))
        if len(self.rows[0]) > self.max_buckets:
            self._merge_buckets()
        self.ticks += 1
        if self.ticks % self.clock or self.width <= self.grace_period:
            return None
        return self._search()

    def _merge_buckets(self) -> None:
        for level, row in enumerate(self.rows):
            if len(row) <= self.max_buckets:
                return
            if level + 1 == len(self.rows):
                self.rows.append([])
            size = 2**level
            (first, first_squares), (second, second_squares) = row[:2]
            apart = (first - second) / size
            self.rows[level + 1].append((first + second, first_squares + second_squares + size * apart**2 / 2))
            del row[:2]

    def _search(self) -> Detection | None:
        """Drop the oldest bucket as long as any split of the window into old and new shows a change."""
        width, total = self.width, self.total
        while self._find_cut():
            self._drop_oldest()
        if self.width == width:
            return None
        self.detections += 1
        before = (total - self.total) / (width - self.width)
        return Detection(self.ticks, self.scale * before, self.scale * self.total / self.width, self.width)

    def _find_cut(self) -> bool:
        if self.width < 2:
            return False
        confidence = math.log(2 * math.log(self.width) / self.delta)
        variance = self.squares / self.width
        least = self.min_window
        old, old_total, new, new_total = 0, 0.0, self.width, self.total
        for level in range(len(self.rows) - 1, -1, -1):
            size = 2**level
            for bucket, _ in self.rows[level]:
                old, old_total, new, new_total = old + size, old_total + bucket, new - size, new_total - bucket
                if new < least or new < 1:
                    return False
                if old < least:
                    continue
                inverse = 1 / (old - least + 1) + 1 / (new - least + 1)
                reach = math.sqrt(2 * inverse * variance * confidence) + 2 / 3 * confidence * inverse
                if abs(old_total / old - new_total / new) > reach:
                    return True
        return False

    def _drop_oldest(self) -> None:
        row = self.rows[-1]
        size = 2 ** (len(self.rows) - 1)
        total, squares = row.pop(0)
        self.width -= size
        self.total -= total
        apart = total / size - self.total / self.width if self.width else 0.0
        self.squares = max(0.0, self.squares - squares - size * self.width * apart**2 / (size + self.width))
        while len(self.rows) > 1 and not self.rows[-1]:
            self.rows.pop()

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON, about 2 KB after a million errors."""
        names = ("delta", "scale", "clock", "max_buckets", "min_window", "grace_period")
        counts = ("width", "ticks", "detections", "skipped", "total", "squares")
        rows = [[list(bucket) for bucket in row] for row in self.rows]
        return {"schema": SCHEMA} | {name: getattr(self, name) for name in names + counts} | {"rows": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Adwin:
        """Raises EngineError ``bad_state``."""
        try:
            if data["schema"] != SCHEMA:
                raise ValueError(data["schema"])
            names = ("scale", "clock", "max_buckets", "min_window", "grace_period")
            adwin = cls(data["delta"], **{name: data[name] for name in names})
            for name in ("width", "ticks", "detections", "skipped"):
                setattr(adwin, name, int(data[name]))
            adwin.total, adwin.squares = float(data["total"]), float(data["squares"])
            adwin.rows = [[(float(total), float(squares)) for total, squares in row] for row in data["rows"]]
            if sum(len(row) * 2**level for level, row in enumerate(adwin.rows)) != adwin.width:
                raise ValueError("width")
        except (KeyError, TypeError, ValueError) as error:
            raise build_state_error(error, SCHEMA) from None
        return adwin


def build_state_error(error: Exception, schema: str) -> EngineError:
    return EngineError(
        "bad_state",
        N_("This is not the state of a drift detector."),
        value=str(error)[:200],
        limit=schema,
        hint=N_("Begin again without a state."),
    )
