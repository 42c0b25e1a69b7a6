"""Lines over steps: where points fall, what a gap does, which values are told, and that nothing is unescaped."""

from __future__ import annotations

import math
import re

import pytest
from django.template import Context, Template

from controlplane.templatetags import charts
from controlplane.templatetags.charts import Scale

LINE = {"label": "loss", "points": [(0, 1.0), (5, 0.5), (10, 0.0)]}


def chart(*series, **more) -> dict:
    return {"series": series, "x_unit": "step", "y_unit": "loss"} | more


def drawn(asked) -> str:
    return Template("{% load charts %}{% line_chart chart %}").render(Context({"chart": asked}))


def path_of(points, **more) -> str:
    across, up = charts.scales([{"label": "x", "points": points}], log=more.get("log", False))
    return charts.path(points, across, up)


def test_the_ends_of_the_line_are_the_ends_of_the_axis():
    path = path_of([(0, 1.0), (10, 2.0)])
    assert [float(part.split()[0]) for part in re.split("[ML]", path)[1:]] == [0, 1000]


@pytest.mark.parametrize("odd", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_gap(odd):
    assert re.sub("[0-9. ]", "", path_of([(0, 1.0), (1, 2.0), (2, odd), (3, 1.0), (4, 2.0)])) == "MLML"


def test_a_logarithm_knows_no_zero():
    assert re.sub("[0-9. ]", "", path_of([(0, 1.0), (1, 0.0), (2, -1.0), (3, 10.0)], log=True)) == "MM"


def test_equal_steps_of_a_logarithm_are_equal_ratios():
    scale = Scale([1, 100], log=True)
    assert [scale.share(value) for value in (1, 10, 100)] == [0, 50, 100]


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (0.1, 0.16, False, [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16]),
        (1, 1000, True, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]),
        (1e-12, 1, True, [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]),
    ],
)
def test_ticks_are_round_and_on_the_axis(low, high, log, ticks):
    found = Scale([low, high], log=log).ticks()
    assert [value for _, value in found] == pytest.approx(ticks)
    assert all(-1e-6 <= place <= 100.000001 for place, _ in found)


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [1e300, -1e300], [1e-300, 2e-300]])
def test_any_values_make_an_axis(values):
    scale = Scale(values)
    assert scale.high > scale.low
    assert len(scale.ticks()) < 12


def test_values_are_told_at_few_steps_with_both_ends():
    steps = charts.picked_steps([{"label": "x", "points": [(n, float(n)) for n in range(1000)]}])
    assert (len(steps), steps[0], steps[-1]) == (charts.COLUMNS, 0, 999)


def test_the_steps_of_a_sparse_line_are_told_exactly():
    dense = {"label": "train", "points": [(n, 1.0) for n in range(500)]}
    sparse = {"label": "validation", "points": [(n * 50, float(n)) for n in range(10)]}
    rows = dict(charts.rows_at([dense, sparse], charts.picked_steps([dense, sparse])))
    assert [rows[n * 50] for n in range(10)] == [[1.0, float(n)] for n in range(10)]


def test_a_line_that_ended_early_is_not_told_later():
    long, short = [(n, 1.0) for n in range(100)], [(n, 2.0) for n in range(5)]
    rows = charts.rows_at([{"label": "a", "points": long}, {"label": "b", "points": short}], [0, 50, 99])
    assert rows == [(0, [1.0, 2.0]), (50, [1.0, None]), (99, [1.0, None])]


def test_the_numbers_stand_in_a_table_and_beside_each_place():
    shown = drawn(chart(LINE))
    assert 'aria-label="step 5, loss 0.5"' in shown
    assert re.search(r'<th scope="row" class="n">5</th><td class="n">0.5</td>', shown)
    assert shown.count('tabindex="0"') == 3


def test_nothing_to_draw_is_said():
    for asked in (None, chart(), chart({"label": "x", "points": []}), chart({"label": "x", "points": [(0, None)]})):
        assert "No values to draw" in drawn(asked)


def test_names_are_escaped_and_nothing_needs_inline_style():
    shown = drawn(chart({"label": "<script>", "points": [(0, 1.0), (1, 2.0)]}, y_unit="<b>"))
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "style=" not in shown


def test_eight_lines_have_eight_signs():
    assert len({charts.key_mark(place) for place in range(8)}) == 8


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "−∞"), (None, "–"), (3, "3")]
)
def test_a_figure_says_what_is_no_number(value, text):
    assert charts.figure(value) == text


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points", [[(1, 1e300), (2, 1e-300)], [(1, -1.7e308), (2, 1.7e308)], [(1, math.inf), (2, 3.0)]]
)
def test_values_that_no_axis_holds_are_gaps(points, log):
    drawn = charts.line_svg([{"label": "loss", "points": points}], log=log)
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_a_logarithmic_axis_of_which_no_told_step_is_positive():
    points = [(step, 1.0 if step == 50 else -1.0) for step in range(100)]
    assert 'class="ln k1"' in charts.line_svg([{"label": "gain", "points": points}], log=True)
