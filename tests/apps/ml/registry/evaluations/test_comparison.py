"""What may be said of two figures, and what may not."""

import pytest

from apps.ml.registry.evaluations.comparison import VariantFigures, Verdict, compare_metrics, pair_variants


def figure(value, low=None, high=None, better="lower", confidence=0.95, name="rmse"):
    made = {"name": name, "value": value, "better": better, "unit": "USD"}
    return made | {"low": low, "high": high, "confidence": confidence}


@pytest.mark.parametrize(
    ("mine", "other", "same_rows", "verdict"),
    [
        (figure(1, 0.9, 1.1), figure(2, 1.9, 2.1), True, Verdict.BETTER),
        (figure(2, 1.9, 2.1), figure(1, 0.9, 1.1), True, Verdict.WORSE),
        (figure(2, 1.9, 2.1, "higher"), figure(1, 0.9, 1.1, "higher"), True, Verdict.BETTER),
        (figure(1, 0.9, 1.1, "higher"), figure(2, 1.9, 2.1, "higher"), True, Verdict.WORSE),
        (figure(1, 0.9, 1.5), figure(2, 1.4, 2.1), True, Verdict.NOT_SHOWN),
        (figure(1, 0.9, 1.5), figure(2, 1.5, 2.1), True, Verdict.NOT_SHOWN),
        (figure(1, 0.9, 1.1), figure(1, 0.9, 1.1), True, Verdict.NOT_SHOWN),
        (figure(1, 0.9, 1.1), figure(2, 1.9, 2.1), False, Verdict.OTHER_ROWS),
        (figure(1, 0.9, 1.1), figure(2, 1.9, 2.1), None, Verdict.ROWS_UNKNOWN),
        (figure(1), figure(2, 1.9, 2.1), True, Verdict.NO_INTERVAL),
        (figure(1, 0.9, 1.1, confidence=0.9), figure(2, 1.9, 2.1), True, Verdict.NO_INTERVAL),
        (figure(1, 0.9, 1.1), None, True, Verdict.ONE_SIDED),
    ],
)
def test_better_is_said_only_where_intervals_of_the_same_rows_do_not_meet(mine, other, same_rows, verdict):
    [found] = compare_metrics([mine], [other] if other else [], same_rows=same_rows)
    assert found.verdict == verdict
    assert found.statement
    assert found.word


def test_the_difference_and_a_scale_that_holds_both():
    [found] = compare_metrics([figure(1, 0.9, 1.1)], [figure(2, 1.9, 2.1)], same_rows=True)
    assert found.difference == -1
    low, high = found.scale
    assert low < 0.9 < 2.1 < high


def test_a_scale_of_one_point_has_a_width():
    low, high = compare_metrics([figure(0)], [figure(0)], same_rows=True)[0].scale
    assert low < 0 < high


def test_what_only_one_has_stands_alone():
    found = compare_metrics([figure(1)], [figure(2, name="mae")], same_rows=True)
    assert [(row.name, row.difference) for row in found] == [("rmse", None), ("mae", None)]


def measured(name, trained=False, heldout="a"):
    return VariantFigures(name, trained, heldout, 40, [figure(1, 0.9, 1.1)])


def test_variants_stand_beside_their_namesakes():
    mine = [measured("fp32", trained=True), measured("int8"), measured("tvm-x86_64")]
    theirs = [measured("base", trained=True), measured("int8", heldout="b"), measured("tvm-aarch64")]
    pairs = [(pair.mine.name, pair.other.name, pair.same_rows) for pair in pair_variants(mine, theirs)]
    assert pairs == [("fp32", "base", True), ("int8", "int8", False)]


def test_rows_that_are_not_known_are_not_called_the_same():
    [pair] = pair_variants([measured("fp32", trained=True, heldout="")], [measured("fp32", trained=True, heldout="")])
    assert pair.same_rows is None


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (figure(-0.5, -0.8, -0.1), Verdict.BETTER),
        (figure(0.5, 0.1, 0.8), Verdict.WORSE),
        (figure(0.5, 0.1, 0.8, "higher"), Verdict.BETTER),
        (figure(0.5, -0.1, 0.8), Verdict.NOT_SHOWN),
        (figure(0.5, 0, 0.8), Verdict.NOT_SHOWN),
        (figure(0.5), Verdict.NO_INTERVAL),
    ],
)
def test_a_difference_that_was_measured_row_by_row_decides_itself(difference, verdict):
    """The two intervals meet here; of pairs more can be said."""
    mine, other = figure(1, 0.5, 1.5), figure(1.5, 1, 2)
    [found] = compare_metrics([mine], [other], same_rows=True, paired={"rmse": difference})
    assert found.verdict == verdict
    assert "meet" not in found.statement
