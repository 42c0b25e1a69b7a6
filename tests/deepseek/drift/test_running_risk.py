"""Bounds on the running risk that hold at all times, and the alarm on a rise at an unknown time."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import integrate, special

from deepseek.drift.increase import IncreaseDetector
from deepseek.drift.risk import RunningRisk, bound_reference_risk, compute_log_gamma_mixture, find_gamma_boundary
from deepseek.job import EngineError


def draw(rate, count, seed):
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


@pytest.mark.parametrize(("total", "variance"), [(3.0, 5.0), (-2.0, 4.0), (30.0, 100.0)])
def test_the_mixture_is_one(total, variance):
    """Over lambda in [0, 1), 1 - lambda of a truncated gamma distribution (Howard et al. 2021, proposition 9)."""
    rho = 4.0

    def weigh(bet):
        rest = 1 - bet
        return math.exp(bet * total + variance * (math.log(rest) + bet) + (rho - 1) * math.log(rest) - rho * rest)

    mixed = integrate.quad(weigh, 0, 1)[0] * rho**rho / special.gamma(rho) / special.gammainc(rho, rho)
    assert compute_log_gamma_mixture(total, variance, rho) == pytest.approx(math.log(mixed), rel=1e-6)


def test_the_boundary_is_where_the_mixture_reaches_it_and_grows_slowly():
    assert find_gamma_boundary(100.0, 0.01) / find_gamma_boundary(100.0, 0.05) > 1
    assert find_gamma_boundary(1e6, 0.01) < 0.006 * 1e6


@pytest.mark.parametrize("method", ["bernoulli", "empirical_bernstein"])
def test_an_undrifted_risk_stays_within_and_a_rise_alarms(method):
    risk = RunningRisk(0.10, 0.05, alpha=0.01, method=method)
    for seed in range(10):
        assert risk.update(draw(0.10, 500, seed)).verdict != "alarm"
    bound = risk.update([])
    assert bound.verdict == "ok"
    assert bound.low < 0.10 < bound.high
    bound = risk.update(draw(0.6, 3_000, 11))
    assert (bound.verdict, risk.alarmed_at) == ("alarm", 8_000)
    assert risk.update(draw(0.0, 20_000, 12)).verdict == "alarm", "an alarm stays"


def test_losses_that_vary_little_are_bounded_closer():
    losses = np.random.default_rng(2).normal(0.5, 0.01, 2_000)
    widths = {}
    for method in ("bernoulli", "empirical_bernstein"):
        bound = RunningRisk(0.5, method=method).update(losses)
        widths[method] = bound.high - bound.low
    assert widths["empirical_bernstein"] < widths["bernoulli"] / 4


def test_counts_are_losses():
    counted, listed = RunningRisk(0.1), RunningRisk(0.1)
    assert counted.update_counts(30, 200) == listed.update([1.0] * 30 + [0.0] * 170)


@pytest.mark.parametrize("method", ["bernoulli", "empirical_bernstein"])
def test_a_restart_changes_nothing(method):
    whole, parts = RunningRisk(0.1, scale=2.0, method=method), RunningRisk(0.1, scale=2.0, method=method)
    losses = draw(0.3, 1_000, 5)
    expected = whole.update(losses)
    for part in np.array_split(losses, 7):
        bound = parts.update(part)
        parts = RunningRisk.from_dict(json.loads(json.dumps(parts.to_dict(), allow_nan=False)))
    assert (bound.low, bound.high) == pytest.approx((expected.low, expected.high))


def test_bad_losses_and_settings():
    risk = RunningRisk(0.1)
    assert risk.update([]).verdict == "inconclusive"
    risk.update([math.nan] * 50 + [7.0, -1.0])
    assert (risk.skipped, risk.clipped, risk.total) == (50, 2, 1.0)
    for call in (
        lambda: RunningRisk(1.5),
        lambda: RunningRisk(0.1, alpha=0),
        lambda: RunningRisk(0.1, scale=0),
        lambda: RunningRisk(0.1).update_counts(3, 2),
        lambda: RunningRisk.from_dict({}),
        lambda: IncreaseDetector(1.0),
        lambda: IncreaseDetector.from_dict({"schema": "other"}),
    ):
        with pytest.raises(EngineError):
            call()


def test_reference_bound():
    assert bound_reference_risk(0, 100, 0.05) == pytest.approx(1 - 0.05 ** (1 / 100)), "the rule of three"
    assert bound_reference_risk(5, 5) == bound_reference_risk(0, 0) == 1.0


def test_a_late_rise_is_found_soon_and_dated():
    detector, found = IncreaseDetector(0.1, losses_to_false_alarm=1e6), []
    losses = np.concatenate([draw(0.1, 50_000, 7), draw(0.2, 1_000, 8)])
    for part in np.array_split(losses, 60):
        found += detector.update_many(part)
        detector = IncreaseDetector.from_dict(json.loads(json.dumps(detector.to_dict(), allow_nan=False)))
    assert found == IncreaseDetector(0.1, losses_to_false_alarm=1e6).update_many(losses)
    assert 50_000 < found[0].at < 50_600
    assert abs(found[0].since - 50_000) < 150
