"""A risk that rises at an unknown time: an e-detector, restarted at every loss, with a stated time to a false alarm.

J. Shin, A. Ramdas and A. Rinaldo (2023), E-detectors: a nonparametric framework for sequential change detection. While
every conditional risk is within the limit m, each factor 1 + lambda (loss - m) has a mean of at most 1, so the CUSUM of
their products reaches a threshold no earlier, in the mean, than after that many losses. Several lambdas are mixed, as
the size of the rise is not known. Unlike the running risk it does not forget a rise in a long good past.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.special import logsumexp

from deepseek.drift.stream import build_state_error
from deepseek.job import EngineError
from deepseek.messages import N_

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Counts: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
SCHEMA = "plane/risk-increase/v1"
ALTERNATIVES = 12
CHUNK = 8192
SMALLEST_LIMIT = 1e-6


@dataclass(frozen=True)
class Increase:
    """An alarm after `at` losses in all; the rise began most likely after the loss `since`."""

    at: int
    since: int


class IncreaseDetector:
    """Losses against a limit. `losses_to_false_alarm`: the mean count of losses before an alarm while the risk stays
    within the limit, at least. `scale`: the greatest loss; a greater one counts as that. What is not finite is skipped.
    After an alarm it begins again."""

    def __init__(self, limit: float, *, losses_to_false_alarm: float = 1e6, scale: float = 1.0) -> None:
        if not (math.isfinite(scale) and scale > 0 and 0 <= limit < scale and 1 < losses_to_false_alarm < math.inf):
            raise EngineError(
                "bad_increase",
                N_("The limit {given} has to lie from 0 to below the greatest loss, {scale}."),
                given=str(limit),
                scale=str(scale),
                field="/limit",
                value=str(limit),
                hint=N_("Scale is the greatest loss: 1 for right and wrong."),
            )
        self.limit, self.scale, self.losses_to_false_alarm = limit, scale, losses_to_false_alarm
        mean = max(limit / scale, SMALLEST_LIMIT)
        rises = np.geomspace(0.05 * min(mean, 1 - mean), 0.9 * (1 - mean), ALTERNATIVES)
        self._mean, self._bets = mean, rises / (mean * (1 - mean))
        self.count = self.skipped = self.alarms = 0
        self.levels: Floats = np.zeros(ALTERNATIVES)
        """Of each bet, the logarithm of its wealth since the best time to have begun."""
        self.since: Counts = np.zeros(ALTERNATIVES, dtype=np.int64)

    def update_many(self, losses: Sequence[float] | Floats) -> list[Increase]:
        values = np.asarray(losses, dtype=np.float64) / self.scale
        finite = np.clip(values[np.isfinite(values)], 0, 1)
        self.skipped += len(values) - len(finite)
        alarms = []
        start = 0
        while start < len(finite):
            used, alarm = self._update_chunk(finite[start : start + CHUNK])
            start += used
            if alarm is not None:
                alarms.append(alarm)
        return alarms

    def _update_chunk(self, losses: Floats) -> tuple[int, Increase | None]:
        """Take losses up to the first alarm: (how many, the alarm)."""
        steps = np.log1p(self._bets[:, None] * (losses - self._mean)[None, :])
        sums = np.cumsum(steps, axis=1)
        before = np.concatenate([-self.levels[:, None], sums[:, :-1]], axis=1)
        before[:, 0] = np.minimum(before[:, 0], 0.0)
        least = np.minimum.accumulate(before, axis=1)
        wealth = sums - least
        crossed = logsumexp(wealth, axis=0) - math.log(ALTERNATIVES) >= math.log(self.losses_to_false_alarm)
        used = int(np.argmax(crossed)) + 1 if crossed.any() else len(losses)
        self._mark_starts(before[:, :used], least[:, :used])
        self.count += used
        if crossed.any():
            since = int(self.since[int(np.argmax(wealth[:, used - 1]))])
            self.levels = np.zeros(ALTERNATIVES)
            self.since = np.full(ALTERNATIVES, self.count, dtype=np.int64)
            self.alarms += 1
            return used, Increase(self.count, since)
        self.levels = np.maximum(wealth[:, -1], 0.0)
        self.since = np.where(wealth[:, -1] > 0, self.since, self.count)
        return used, None

    def _mark_starts(self, before: Floats, least: Floats) -> None:
        """Of each bet, after which loss its sum was least: there it would best have begun."""
        fell = np.zeros(before.shape, dtype=bool)
        fell[:, 1:] = before[:, 1:] < least[:, :-1]
        places = np.where(fell, np.arange(before.shape[1]), -1).max(axis=1)
        self.since = np.where(places >= 0, self.count + places, self.since)

    def to_dict(self) -> dict[str, Any]:
        names = ("limit", "scale", "losses_to_false_alarm", "count", "skipped", "alarms")
        state = {"levels": self.levels.tolist(), "since": self.since.tolist()}
        return {"schema": SCHEMA} | {name: getattr(self, name) for name in names} | state

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IncreaseDetector:
        """Raises EngineError ``bad_state``."""
        try:
            if data["schema"] != SCHEMA:
                raise ValueError(data["schema"])
            detector = cls(data["limit"], losses_to_false_alarm=data["losses_to_false_alarm"], scale=data["scale"])
            detector.count, detector.skipped, detector.alarms = (
                int(data[name]) for name in ("count", "skipped", "alarms")
            )
            detector.levels = np.array(data["levels"], dtype=np.float64)
            detector.since = np.array(data["since"], dtype=np.int64)
            if detector.levels.shape != (ALTERNATIVES,) or detector.since.shape != (ALTERNATIVES,):
                raise ValueError("levels")
        except (KeyError, TypeError, ValueError) as error:
            raise build_state_error(error, SCHEMA) from None
        return detector
