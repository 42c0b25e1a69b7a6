"""The verdict on draws, and the correction for many slices, by the numbers."""

import numpy as np
import pytest

from apps.ml.registry.gates.criteria import GateCriteria, correct_by_holm, decide_outcome
from apps.ml.registry.gates.replicates import compute_interval
from tests.apps.ml.registry.measured import COUNT, around, series

STILL = [1.0] * COUNT


def bar(**asked):
    return GateCriteria(
        **{"metric": "rmse", "better": "lower", "margin": 0.0, "confidence": 0.95, "guard_slices": False} | asked
    )


def read(*told):
    return {(tuple(one["slice"]) if one["slice"] else None, one["metric"]): one for one in told}


def said(value, width=0.1, better="lower", **asked):
    ours = read(series("rmse", better, value, around(value, width)))
    return decide_outcome(bar(better=better, **asked), ours, read(series("rmse", better, 1.0, STILL)))


@pytest.mark.parametrize(
    ("value", "margin", "better", "state"),
    [
        (1.2, 0.0, "lower", "fail"),
        (1.2, 0.05, "lower", "fail"),
        (1.2, 0.2, "lower", "not_significant"),
        (1.2, 0.4, "lower", "pass"),
        (0.8, 0.0, "lower", "pass"),
        (1.0, 0.0, "lower", "not_significant"),
        (0.8, 0.0, "higher", "fail"),
        (0.8, 0.4, "higher", "pass"),
        (1.2, 0.0, "higher", "pass"),
    ],
)
def test_fail_pass_or_not_significant(value, margin, better, state):
    found = said(value, margin=margin, better=better)
    assert found.state == state
    assert found.low < found.difference < found.high


def test_an_equal_model_passes_without_a_margin():
    assert (said(1.0, 0.0).state, said(1.0 + 1e-12, 0.0).state) == ("pass", "pass")


def test_the_interval_is_that_of_numpy():
    values = np.random.default_rng(0).normal(size=501)
    assert compute_interval(values.tolist(), 0.9) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))


@pytest.mark.parametrize(
    "ours",
    [
        read(series("mae", "lower", 1.0, STILL)),
        read(series("rmse", "lower", 1.0, [float("nan")] * COUNT)),
        read(series("rmse", "lower", 1.0, STILL[:-1])),
    ],
)
def test_what_cannot_be_subtracted_is_not_compared(ours):
    found = decide_outcome(bar(), ours, read(series("rmse", "lower", 1.0, STILL)))
    assert (found.state, found.difference) == ("not_comparable", None)
    assert "rmse" in found.why


def of_slices(values, **asked):
    """A model that is equal on the whole, beside one of rmse 1 everywhere."""
    ours = [series("rmse", "lower", 1.0, STILL)]
    ours += [series("rmse", "lower", v, around(v, 0.1), ["site", str(k)]) for k, v in enumerate(values)]
    theirs = [series("rmse", "lower", 1.0, STILL)]
    theirs += [series("rmse", "lower", 1.0, STILL, ["site", str(k)]) for k in range(len(values))]
    return decide_outcome(bar(**asked), read(*ours), read(*theirs))


def test_the_worst_slice_is_told_and_fails_only_a_gate_that_guards():
    told, guarded = (of_slices([1.0, 1.3, 0.9], guard_slices=guard) for guard in (False, True))
    assert (told.state, guarded.state) == ("pass", "fail")
    assert (told.worst.column, told.worst.value, told.slices) == ("site", "1", 3)
    assert told.worst.worse
    assert told.worst.corrected == pytest.approx(3 / (COUNT + 1))


def test_among_many_slices_one_bad_look_is_no_loss():
    alone, among = of_slices([1.0965], guard_slices=True), of_slices([1.0965] + [0.5] * 9, guard_slices=True)
    assert (alone.state, among.state) == ("fail", "pass")
    assert among.worst.value == "0"


def of_many(losses, count, **asked):
    """Accuracies of slices that were 0.9, `losses` lower in each of `count` draws or as its list of draws says."""
    draws = [[0.9 - one for one in loss] if isinstance(loss, list) else [0.9 - loss] * count for loss in losses]
    whole = series("accuracy", "higher", 0.9, [0.9] * count)
    ours = [series("accuracy", "higher", sum(d) / count, d, ["site", str(k)]) for k, d in enumerate(draws)]
    theirs = [series("accuracy", "higher", 0.9, [0.9] * count, ["site", str(k)]) for k in range(len(losses))]
    asked = {"metric": "accuracy", "better": "higher", "guard_slices": True} | asked
    return decide_outcome(bar(**asked), read(whole, *ours), read(whole, *theirs))


@pytest.mark.parametrize(("count", "slices", "confidence"), [(2000, 60, 0.95), (2000, 11, 0.99), (200, 6, 0.95)])
def test_few_draws_among_many_slices_still_show_a_loss(count, slices, confidence):
    noise = np.random.default_rng(1).normal(size=count)
    noise = 0.05 * (noise - noise.mean()) / noise.std()
    for lost in (0.9, (0.45 + noise).tolist()):
        found = of_many([lost] + [0.0] * (slices - 1), count, confidence=confidence)
        assert (found.state, found.worst.value, found.slices) == ("fail", "0", slices)
    chance = (noise + 0.05).tolist()  # one standard deviation: a look like this comes by chance
    among = of_many([chance] + [0.0] * (slices - 1), count, confidence=confidence)
    assert among.state == "pass"
    assert among.worst.p == pytest.approx(0.1587, abs=0.005)
    assert of_many([0.0] * slices, count, confidence=confidence).worst.p == 1.0


def test_holm_as_worked_by_hand():
    assert correct_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_by_holm([0.5, 0.9]) == [1.0, 1.0]
    assert correct_by_holm([]) == []
