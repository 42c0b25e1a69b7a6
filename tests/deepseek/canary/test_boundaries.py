"""Boundaries of group-sequential tests, beside published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.canary.boundaries import compute_boundaries, compute_crossing_probabilities, spend_error

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
PUBLISHED = {
    # Lan-DeMets, one-sided 0.025: Reboussin, DeMets, Kim and Lan (2000), as ldbounds and gsDesign print them
    ("obrien_fleming", 0.025, FIFTHS): (4.8769, 3.3569, 2.6803, 2.2898, 2.0310),
    ("pocock", 0.025, FIFTHS): (2.4380, 2.4268, 2.4101, 2.3966, 2.3859),
    ("obrien_fleming", 0.025, (0.5, 1.0)): (2.9626, 1.9686),
    # one-sided 0.05, four equal looks: the README of SeqBounds.jl
    ("obrien_fleming", 0.05, (0.25, 0.5, 0.75, 1.0)): (3.74955, 2.53993, 2.01604, 1.72014),
}
# Jennison and Turnbull (2000), tables 2.1 and 2.3: constants of the two-sided tests.
POCOCK = {
    0.05: {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413, 10: 2.555},
    0.01: {2: 2.772, 3: 2.873, 4: 2.939, 5: 2.986, 10: 3.117},
}
OBRIEN_FLEMING = {
    0.05: {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040, 10: 2.087},
    0.01: {2: 2.580, 3: 2.595, 4: 2.609, 5: 2.621, 10: 2.660},
}


def list_even_looks(count: int) -> tuple[float, ...]:
    return tuple((number + 1) / count for number in range(count))


def test_lan_demets_boundaries_are_the_published_ones():
    found = {case: compute_boundaries(case[2], case[1], case[0]) for case in PUBLISHED}
    wrong = {
        case: found[case] for case in PUBLISHED if not np.allclose(found[case], PUBLISHED[case], atol=5e-4, rtol=0)
    }
    assert wrong == {}


def test_constant_boundaries_cross_as_often_as_the_tables_say():
    """Two sides of a symmetric test cross together with a probability that no third decimal shows."""
    wrong = {}
    for error, constants in POCOCK.items():
        for count, constant in constants.items():
            bounds = (constant,) * count
            wrong["pocock", error, count] = (
                2 * sum(compute_crossing_probabilities(list_even_looks(count), bounds)) - error
            )
    for error, constants in OBRIEN_FLEMING.items():
        for count, constant in constants.items():
            bounds = tuple(constant / math.sqrt(time) for time in list_even_looks(count))
            crossing = 2 * sum(compute_crossing_probabilities(list_even_looks(count), bounds))
            wrong["obrien_fleming", error, count] = crossing - error
    assert {case: off for case, off in wrong.items() if abs(off) > 0.003 * case[1]} == {}


def test_power_is_that_of_the_tables():
    """Jennison and Turnbull, table 2.2: five looks of Pocock at 0.05, power 0.9, need 1.207 times the fixed sample."""
    drift = (1.959964 + 1.281552) * math.sqrt(1.207)
    power = sum(compute_crossing_probabilities(FIFTHS, (2.413,) * 5, drift))
    assert power == pytest.approx(0.9, abs=1e-3)


@st.composite
def draw_looks(draw):
    steps = draw(st.lists(st.floats(0.02, 1), min_size=1, max_size=6))
    reached = draw(st.floats(0.1, 1)) if draw(st.booleans()) else 1.0
    return tuple(float(time) for time in np.cumsum(steps) / sum(steps) * reached)


@given(draw_looks(), st.sampled_from([0.001, 0.01, 0.05]), st.sampled_from(["pocock", "obrien_fleming"]))
def test_no_look_takes_more_error_than_is_spent(looks, alpha, family):
    crossing = np.cumsum(compute_crossing_probabilities(looks, compute_boundaries(looks, alpha, family)))
    spent = np.array([spend_error(family, alpha, time) for time in looks])
    assert (crossing <= spent * (1 + 1e-6) + 1e-9).all()
    assert crossing[-1] == pytest.approx(spent[-1], rel=1e-4, abs=1e-9)


@given(draw_looks(), st.sampled_from(["pocock", "obrien_fleming"]))
def test_a_smaller_error_has_higher_boundaries(looks, family):
    strict, lenient = (compute_boundaries(looks, alpha, family) for alpha in (0.005, 0.02))
    assert all(first >= second for first, second in zip(strict, lenient, strict=True))


def test_boundaries_fall_over_equal_looks():
    for family in ("pocock", "obrien_fleming"):
        limits = compute_boundaries(list_even_looks(24), 0.01, family)
        assert list(limits) == sorted(limits, reverse=True)


def test_one_look_is_the_fixed_test_and_a_look_with_nothing_to_spend_cannot_cross():
    assert compute_boundaries((1.0,), 0.025, "pocock")[0] == pytest.approx(1.959964, abs=1e-6)
    assert compute_boundaries((0.001, 1.0), 0.025, "obrien_fleming") == (math.inf, pytest.approx(1.959964, abs=1e-5))


def test_a_last_look_that_comes_early_spends_what_is_left():
    early = compute_boundaries((0.4, 0.7), 0.01, "pocock", (0.4, 1.0))
    assert sum(compute_crossing_probabilities((0.4, 0.7), early)) == pytest.approx(0.01, rel=1e-6)
    assert early[1] < compute_boundaries((0.4, 0.7), 0.01, "pocock")[1]
