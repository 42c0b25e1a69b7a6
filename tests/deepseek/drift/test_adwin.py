"""ADWIN beside river's, which is compiled: the same detections and the same window."""

from __future__ import annotations

import json
import math
import random

import pytest
from river._river_rust.drift import AdaptiveWindowing

from deepseek.drift.stream import Adwin
from deepseek.job import EngineError


def make_stream(seed, rates, length=1_500):
    source = random.Random(seed)
    return [float(source.random() < rate) for rate in rates for _ in range(length)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("delta", "clock"), [(0.002, 32), (0.05, 1)])
def test_detects_what_river_detects(seed, delta, clock):
    ours, theirs = Adwin(delta, clock=clock), AdaptiveWindowing(delta, clock, 5, 5, 10)
    stream = make_stream(seed, [0.1, 0.3, 0.1, 0.15])
    expected = [at for at, error in enumerate(stream, 1) if theirs.update(error)]
    assert [found.at for found in ours.update_many(stream)] == expected != []
    assert (ours.width, ours.total) == (theirs.get_width(), pytest.approx(theirs.get_total()))
    assert ours.squares == pytest.approx(theirs.get_variance(), rel=1e-6)


def test_the_published_example():
    """Of river's documentation: two distributions, found 23 values after the change."""
    source = random.Random(12345)
    stream = source.choices([0, 1], k=1000) + source.choices(range(4, 8), k=1000)
    first = Adwin().update_many(stream)[0]
    assert (first.at - 1, first.is_worse) == (1023, True)


def test_a_restart_changes_nothing():
    stream = make_stream(3, [0.1, 0.4])
    whole, parts, found = Adwin(scale=2.0), Adwin(scale=2.0), []
    expected = whole.update_many(stream)
    for start in range(0, len(stream), 100):
        found += parts.update_many(stream[start : start + 100])
        parts = Adwin.from_dict(json.loads(json.dumps(parts.to_dict(), allow_nan=False)))
    assert found == expected != []
    assert parts.to_dict() == whole.to_dict()


def test_what_is_not_finite_is_skipped_and_constants_are_no_change():
    adwin = Adwin()
    assert adwin.update_many([math.nan, math.inf] * 500 + [0.25] * 2_000) == []
    assert (adwin.skipped, adwin.width, adwin.mean) == (1_000, 2_000, 0.25)


def test_bad_settings_and_states_are_named():
    for call in (lambda: Adwin(0), lambda: Adwin(scale=0), lambda: Adwin.from_dict({"schema": "other"})):
        with pytest.raises(EngineError):
            call()
    with pytest.raises(EngineError, match="not the state"):
        Adwin.from_dict(Adwin().to_dict() | {"width": 3})
