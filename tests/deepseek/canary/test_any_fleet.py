"""Whatever devices send, a verdict comes that JSON can carry, and that no order of theirs changes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from deepseek.canary.evidence_spec import GREATEST_VALUE
from tests.deepseek.canary.fleets import DAY, FAILURE, INSTALL, LATENCY, build_plan, evaluate

FIGURES = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1.0, 7.1, -1e-300, GREATEST_VALUE, -GREATEST_VALUE]),
    st.floats(-1e3, 1e3, allow_nan=False),
)
HEALTH = {"name": "healthy", "scale": "binary", "better": "higher", "tests": ["harm", "non_inferiority"], "margin": 0.1}


@st.composite
def draw_device(draw, number):
    figure = draw(FIGURES)
    values = {"healthy": {"mean": draw(st.sampled_from([0.0, 1.0]))}}
    if figure is not None:
        values["latency_ms"] = {"mean": figure, "count": draw(st.integers(0, 3))}
    return {
        "device": f"{number:03}",
        "arm": draw(st.sampled_from(["canary", "control", "control"])),
        "stratum": draw(st.sampled_from(["", "a", "b"])),
        "installed": draw(st.sampled_from([True, True, False])),
        "failed": draw(st.sampled_from([False, False, True])),
        "observed_seconds": draw(st.sampled_from([0.0, DAY / 3, DAY])),
        "silent_seconds": draw(st.sampled_from([0.0, 3_600.0])),
        "values": values,
    }


@st.composite
def draw_fleet(draw):
    return [draw(draw_device(number)) for number in range(draw(st.integers(0, 10)))]


@given(draw_fleet(), draw_fleet(), st.booleans(), st.booleans())
def test_any_fleet_has_a_verdict(first, second, has_maximum, final):
    gates = [LATENCY, HEALTH, INSTALL, {**FAILURE, "margin": 0.2, "tolerance": 0.01}]
    maximum = {"canary": 6, "control": 9} if has_maximum else None
    plan = build_plan(*gates, maximum=maximum, min_canary=2, min_control=2)
    verdict = evaluate(plan, first)
    assert json.loads(json.dumps(verdict, allow_nan=False)) == verdict
    later = evaluate(plan, second, 1, final=final, history=verdict["history"])
    assert evaluate(plan, second[::-1], 1, final=final, history=verdict["history"]) == later
    assert later["verdict"] in {"go_on", "roll_back", "hold"}
    if verdict["verdict"] == "roll_back":
        assert later["verdict"] == "roll_back"
    json.dumps(later, allow_nan=False)
