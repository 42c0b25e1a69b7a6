"""May a version go out: every point, each way it can speak."""

import pytest

from apps.ml.registry.evaluations.comparison import MetricComparison, Verdict
from apps.ml.registry.promotion.release_readiness import evaluate_readiness
from apps.platform.approvals.terms import Terms

ROW = {"name": "fp32", "intact": True, "metrics": [{"name": "rmse"}], "job": 3}
SIGNATURE = {"inputs": [], "outputs": []}


def compared(verdict):
    figure = {"value": 1.0}
    return MetricComparison("rmse", "lower", "", figure, figure, verdict)


@pytest.fixture
def look():
    """look(**changes) -> the outlook of a version that nothing stands against, but for the changes."""

    def made(rows=(ROW,), **changes):
        facts = {
            "first": compared(Verdict.BETTER),
            "baseline": compared(Verdict.BETTER),
            "production": {"signature": SIGNATURE},
            "signature": SIGNATURE,
            "data": ["prices v1"],
            "terms": Terms(needed=1, deadline_hours=72),
            "eligible": 2,
        }
        return evaluate_readiness(list(rows), **{**facts, **changes})

    return made


def test_nothing_stands_against_it(look):
    assert (look().state, look().sentence) == ("pass", "Ready to request promotion.")


@pytest.mark.parametrize(
    "change",
    [
        {"first": compared(Verdict.WORSE)},
        {"first": compared(Verdict.NOT_SHOWN)},
        {"first": None},
        {"baseline": compared(Verdict.OTHER_ROWS)},
        {"signature": {"inputs": [{"name": "x"}], "outputs": []}},
        {"data": []},
        {"rows": [{**ROW, "job": None}]},
        {"rows": [ROW, {**ROW, "name": "int8", "metrics": []}]},
    ],
)
def test_what_is_to_be_weighed(look, change):
    assert (look(**change).state, look(**change).sentence) == ("held", "1 point is to be weighed first.")


@pytest.mark.parametrize(
    ("change", "why"),
    [({"rows": [{**ROW, "intact": False}]}, "fp32 are damaged"), ({"terms": Terms(3, 72)}, "only 2 could approve")],
)
def test_what_stands_in_the_way(look, change, why):
    found = look(**change)
    assert (found.state, why in found.sentence) == ("failed", True)


def test_without_production_there_is_nothing_to_compare_with(look):
    assert "Against production" not in [check.label for check in look(production=None, first=None).checks]
