"""Anytime-valid bounds on the running risk, the mean loss since the watch began, and the alarm when it is too high.

Alarm when the lower bound of the current risk exceeds the upper bound of the reference's plus a tolerance (Podkopaev
and Ramdas 2022, Tracking the risk of a deployed model and detecting harmful distribution shifts). The bounds hold at
all times at once, so one may look after every batch. They are of the mean of the conditional risks, which may change:
nothing has to be identically distributed.

- `bernoulli`, for losses of 0 and 1: the mixture of deepseek.canary.e_processes. It needs count and sum alone, and
  holds for all losses from 0 to 1 (a loss is sub-Bernoulli: Howard, Ramdas, McAuliffe and Sekhon 2020, 2021).
- `empirical_bernstein`, for losses that vary little: the gamma-exponential mixture of Howard et al. (2021, theorem 4
  and proposition 9).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv, gammainc, gammaln

from deepseek.canary.e_processes import find_share_bound
from deepseek.drift.stream import build_state_error
from deepseek.job import EngineError
from deepseek.messages import N_, Message

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Method = Literal["bernoulli", "empirical_bernstein"]
SCHEMA = "plane/running-risk/v1"
TYPICAL_VARIANCE = 100.0
"""The sum of squared deviations at which the empirical Bernstein bound is made tightest."""


@dataclass(frozen=True)
class RiskBound:
    """The mean loss so far with its bounds, each at the error alpha; None before the first loss."""

    verdict: Literal["ok", "alarm", "inconclusive"]
    value: float | None
    low: float | None
    high: float | None
    limit: float
    count: int
    message: Message


class RunningRisk:
    """The running risk against a limit. `reference`: an upper bound of the reference's risk (bound_reference_risk);
    `tolerance`: how much more is no harm; `alpha`: the probability of ever alarming while the risk is within the limit;
    `scale`: the greatest loss. A greater one counts as that and is counted in `clipped`; what is not finite is skipped.
    """

    def __init__(
        self,
        reference: float,
        tolerance: float = 0.0,
        *,
        alpha: float = 0.01,
        scale: float = 1.0,
        method: Method = "bernoulli",
    ) -> None:
        checks = {"alpha": 0 < alpha < 1, "scale": math.isfinite(scale) and scale > 0, "tolerance": tolerance >= 0}
        checks["reference"] = 0 <= reference <= scale
        for name, is_good in checks.items():
            if not is_good:
                raise EngineError(
                    "bad_risk",
                    N_("A running risk needs alpha between 0 and 1, scale above 0, and a reference from 0 to scale."),
                    field=f"/{name}",
                    value=str(locals()[name]),
                    limit="0 < alpha < 1, scale > 0, 0 <= reference <= scale, tolerance >= 0",
                    hint=N_("Scale is the greatest loss: 1 for right and wrong."),
                )
        self.reference, self.tolerance, self.alpha = reference, tolerance, alpha
        self.scale, self.method = scale, method
        self.count = self.skipped = self.clipped = 0
        self.total = self.squares = 0.0
        self.alarmed_at: int | None = None
        """After how many losses the alarm came. It stays, whatever comes after."""

    @property
    def limit(self) -> float:
        return self.reference + self.tolerance

    def update(self, losses: Sequence[float] | Floats) -> RiskBound:
        """Take a batch of losses in their order."""
        values = np.asarray(losses, dtype=np.float64) / self.scale
        finite = values[np.isfinite(values)]
        self.skipped += len(values) - len(finite)
        self.clipped += int(((finite > 1) | (finite < 0)).sum())
        bounded = np.clip(finite, 0, 1)
        if len(bounded):
            # The mean of what came before each loss, with half a loss of one half at the start.
            counts = self.count + np.arange(len(bounded))
            before = (self.total + np.cumsum(bounded) - bounded + 0.5) / (counts + 1)
            self.squares += float(np.square(bounded - before).sum())
            self.count += len(bounded)
            self.total += float(bounded.sum())
        return self._look()

    def update_counts(self, wrong: int, count: int) -> RiskBound:
        """Take `count` answers of which `wrong` were wrong, as the figures of an hour have them."""
        if not 0 <= wrong <= count:
            raise EngineError(
                "bad_count",
                N_("There are more cases than rows."),
                field="/wrong",
                value=str(wrong),
                limit=count,
                hint=N_("Count the window again."),
            )
        if self.method != "bernoulli" or self.scale != 1:
            raise EngineError(
                "bad_risk",
                N_("Counts of right and wrong need the method bernoulli and the scale 1."),
                field="/method",
                value=self.method,
                limit="bernoulli",
                hint=N_("Give the losses one by one."),
            )
        self.count += count
        self.total += wrong
        return self._look()

    def compute_bounds(self, alpha: float | None = None) -> tuple[float, float]:
        """(lower, upper), each at the error `alpha`, in the unit of the losses."""
        alpha = alpha or self.alpha
        if not self.count:
            return 0.0, self.scale
        if self.method == "bernoulli":
            low, high = (find_share_bound(self.total, self.count, alpha, upper=upper) for upper in (False, True))
        else:
            reach = find_gamma_boundary(self.squares, alpha) / self.count
            low, high = max(0.0, self.total / self.count - reach), min(1.0, self.total / self.count + reach)
        return low * self.scale, high * self.scale

    def _look(self) -> RiskBound:
        low, high = self.compute_bounds()
        if self.alarmed_at is None and low > self.limit:
            self.alarmed_at = self.count
        return self.describe(low, high)

    def describe(self, low: float, high: float) -> RiskBound:
        if not self.count:
            return RiskBound("inconclusive", None, None, None, self.limit, 0, Message(N_("There is no loss yet.")))
        value = self.scale * self.total / self.count
        verdict: Literal["ok", "alarm", "inconclusive"]
        verdict = "alarm" if self.alarmed_at is not None else "ok" if high <= self.limit else "inconclusive"
        msgids = {
            "alarm": N_("The risk is at least {low}, and the limit is {limit}."),
            "ok": N_("The risk is at most {high}, and the limit is {limit}."),
            "inconclusive": N_("The risk lies between {low} and {high}, and the limit is {limit}."),
        }
        figures = {name: f"{number:.4g}" for name, number in (("low", low), ("high", high), ("limit", self.limit))}
        return RiskBound(verdict, value, low, high, self.limit, self.count, Message(msgids[verdict], **figures))

    def to_dict(self) -> dict[str, Any]:
        names = ("reference", "tolerance", "alpha", "scale", "method", "count", "skipped", "clipped", "total")
        return {"schema": SCHEMA} | {name: getattr(self, name) for name in (*names, "squares", "alarmed_at")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunningRisk:
        """Raises EngineError ``bad_state``."""
        try:
            if data["schema"] != SCHEMA or data["method"] not in ("bernoulli", "empirical_bernstein"):
                raise ValueError(data["schema"])
            names = ("alpha", "scale", "method")
            risk = cls(data["reference"], data["tolerance"], **{name: data[name] for name in names})
            risk.count, risk.skipped, risk.clipped = (int(data[name]) for name in ("count", "skipped", "clipped"))
            risk.total, risk.squares = float(data["total"]), float(data["squares"])
            risk.alarmed_at = None if data["alarmed_at"] is None else int(data["alarmed_at"])
        except (KeyError, TypeError, ValueError) as error:
            raise build_state_error(error, SCHEMA) from None
        return risk


def bound_reference_risk(wrong: int, count: int, alpha: float = 0.01) -> float:
    """The upper bound of Clopper and Pearson (1934) on the risk that the reference data shows."""
    if not count or wrong >= count:
        return 1.0
    return float(betaincinv(wrong + 1, count - wrong, 1 - alpha))


def compute_log_gamma_mixture(total: float, variance: float, rho: float) -> float:
    """The logarithm of the gamma-exponential mixture at a sum of deviations and its variance process, with c = 1."""
    place = total + variance + rho
    if place <= 0:
        return -math.inf
    shape = variance + rho
    leading = rho * math.log(rho) - gammaln(rho) - math.log(gammainc(rho, rho))
    tail = float(gammainc(shape, place))
    if tail <= 0:
        return -math.inf
    return float(leading + gammaln(shape) + math.log(tail) - shape * math.log(place) + total + variance)


@lru_cache(maxsize=1024)
def find_gamma_boundary(variance: float, alpha: float) -> float:
    """The sum of deviations at which the mixture reaches 1/alpha."""
    target = -math.log(alpha)
    rho = TYPICAL_VARIANCE / (2 * target + math.log(1 + 2 * target))
    high = 10.0 + 4 * math.sqrt((variance + rho) * target) + 4 * target
    while compute_log_gamma_mixture(high, variance, rho) < target:
        high *= 2
    return float(brentq(lambda s: compute_log_gamma_mixture(s, variance, rho) - target, 0.0, high, xtol=1e-9))
