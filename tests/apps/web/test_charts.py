"""Lines over steps: where points fall, what a gap does, which values are told, and that nothing is unescaped."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from django.template import Context, Template
from django.test import RequestFactory

from apps.web.templatetags import charts, line_plots
from apps.web.templatetags.axes import Scale
from tests.html_layout import drop_layout

LINE = {"label": "loss", "points": [(0, 1.0), (5, 0.5), (10, 0.0)]}


def chart(*series, **more) -> dict:
    return {"series": series, "x_unit": "step", "y_unit": "loss"} | more


def drawn(asked, tag="line_chart", query="") -> str:
    context = Context({"chart": asked, "request": RequestFactory().get(f"/{query}")})
    return drop_layout(Template("{% load charts %}{% " + tag + " chart %}").render(context))


def path_of(points, **more) -> str:
    across, up = line_plots.build_scales([{"label": "x", "points": points}], log=more.get("log", False))
    return line_plots.build_path(points, across, up)


def test_points_fall_where_the_axes_put_them():
    across, up = Scale([0, 10]), Scale([0.0, 1.0])
    assert line_plots.build_path([(0, 1.0), (2.5, 0.75), (10, 0.0)], across, up) == "M0 0L250 250L1000 1000"


@pytest.mark.parametrize(("steps", "marks"), [((0, 97, 98, 100), 2), ((0, 30, 60, 100), 4), ((7,), 1)])
def test_marks_stand_apart(steps, marks):
    svg = line_plots.draw_line_chart([{"label": "x", "points": [(step, 1.0) for step in steps]}])
    assert svg.count('class="mk') == marks


def test_the_ends_of_the_line_are_the_ends_of_the_axis():
    path = path_of([(0, 1.0), (10, 2.0)])
    assert [float(part.split()[0]) for part in re.split("[ML]", path)[1:]] == [0, 1000]


@pytest.mark.parametrize("odd", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_gap(odd):
    assert re.sub("[0-9. ]", "", path_of([(0, 1.0), (1, 2.0), (2, odd), (3, 1.0), (4, 2.0)])) == "MLML"


def test_a_logarithm_knows_no_zero_and_says_so():
    points = [(0, 1.0), (1, 0.0), (2, -1.0), (3, 10.0)]
    assert re.sub("[0-9. ]", "", path_of(points, log=True)) == "MM"
    assert "2 values are zero or below" in drawn(chart({"label": "x", "points": points}, log=True))


def test_values_are_told_at_few_steps_with_both_ends():
    steps = line_plots.pick_steps([{"label": "x", "points": [(n, float(n)) for n in range(1000)]}])
    assert (len(steps), steps[0], steps[-1]) == (line_plots.MAX_COLUMNS, 0, 999)


def test_the_steps_of_a_sparse_line_are_told_exactly():
    dense = {"label": "train", "points": [(n, 1.0) for n in range(500)]}
    sparse = {"label": "validation", "points": [(n * 50, float(n)) for n in range(10)]}
    rows = dict(line_plots.build_rows([dense, sparse], line_plots.pick_steps([dense, sparse])))
    assert [rows[n * 50] for n in range(10)] == [[1.0, float(n)] for n in range(10)]


def test_a_line_that_ended_early_is_not_told_later():
    long, short = [(n, 1.0) for n in range(100)], [(n, 2.0) for n in range(5)]
    rows = line_plots.build_rows([{"label": "a", "points": long}, {"label": "b", "points": short}], [0, 50, 99])
    assert rows == [(0, [1.0, 2.0]), (50, [1.0, None]), (99, [1.0, None])]


def test_the_numbers_stand_in_a_table_and_beside_each_place():
    shown = drawn(chart(LINE))
    assert 'aria-label="step 5, loss 0.5"' in shown
    assert re.search(r'<th scope="row" class="n">5</th><td class="n">0.5</td>', shown)
    assert shown.count('tabindex="0"') == 3


def test_every_value_is_told_to_the_script_and_a_gap_is_one():
    shown = drawn(chart({"label": "x", "points": [(0, 1.25), (1, None), (2, None), (3, 2.5)]}))
    assert 'data-x="0 1 2 3" data-y="1.25 - - 2.5"' in shown


def test_nothing_to_draw_is_said():
    for asked in (None, chart(), chart({"label": "x", "points": []}), chart({"label": "x", "points": [(0, None)]})):
        assert "No values to draw" in drawn(asked)


def test_names_are_escaped_and_nothing_needs_inline_style():
    series = [{"label": f"<script>{n}", "url": '"><script>', "points": [(0, 1.0), (1, 2.0)]} for n in range(3)]
    shown = drawn(chart(*series, y_unit="<b>", toggles=True), query="?key=<script>")
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "style=" not in shown


def test_twenty_lines_have_twenty_signs():
    assert len({line_plots.draw_key_mark(place) for place in range(20)}) == 20


def test_the_last_tick_ends_in_the_margin_of_the_card():
    """Centred on its place it would leave the card, and ending there it would meet the one before on a phone."""
    ends = [text for text in re.findall('<text[^>]*dy="17"[^>]*>', drawn(chart(LINE))) if 'x="100%"' in text]
    assert [' text-anchor="end" dx="12"' in text for text in ends] == [True]


def test_few_lines_are_named_at_their_ends_and_many_are_not():
    few, many = ([{**LINE, "label": f"run {n}"} for n in range(count)] for count in (3, 9))
    assert drawn(chart(*few)).count('class="lbl"') == 3
    assert drawn(chart(*many)).count('class="lbl"') == 0


@pytest.mark.parametrize("heights", [{0: 50.0, 1: 50.0, 2: 50.0}, {0: 99.0, 1: 100.0}, {0: 3.0, 1: 90.0}])
def test_names_do_not_meet(heights):
    places = [at for _, at in line_plots.position_labels(heights)]
    assert all(b - a >= line_plots.LABEL_APART - 1e-9 for a, b in pairwise(places))
    assert max(places) <= 100


def test_a_line_is_put_away_and_brought_back_by_the_address():
    shown = drawn(chart(LINE, {**LINE, "label": "other"}, toggles=True, hidden={1}), query="?hide=1&key=a")
    assert re.search(r'role="switch" aria-checked="false" data-toggle="1"', shown)
    assert 'href="?key=a#chart"' in shown
    assert 'href="?key=a&amp;hide=0%2C1#chart"' in shown
    assert '<path class="ln k2" data-of="1" hidden' in shown


def test_a_smoothed_line_stands_before_what_was_measured():
    points = [(n, float(n % 2)) for n in range(50)]
    shown = drawn(chart({"label": "x", "points": points}, smooth=0.9))
    assert shown.count('opacity=".25"') == 1
    assert re.search(r'data-raw="0 1 0 1 ', shown)
    assert "Smoothed with weight 0.9" in shown


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "−∞"), (None, "–"), (3, "3")]
)
def test_a_figure_says_what_is_no_number(value, text):
    assert charts.format_figure(value) == text


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "points", [[(1, 1e300), (2, 1e-300)], [(1, -1.7e308), (2, 1.7e308)], [(1, math.inf), (2, 3.0)]]
)
def test_values_that_no_axis_holds_are_gaps(points, log):
    across, up = line_plots.build_scales([{"label": "x", "points": points}], log=log)
    assert not {"n", "a", "i"} & set(line_plots.build_path(points, across, up))
    line_plots.draw_line_chart([{"label": "loss", "points": points}], log=log)


def test_a_logarithmic_axis_of_which_no_told_step_is_positive():
    points = [(step, 1.0 if step == 50 else -1.0) for step in range(100)]
    assert 'class="ln k1"' in line_plots.draw_line_chart([{"label": "gain", "points": points}], log=True)


# -- bars, points, sparklines ---------------------------------------------------------------------------------------
def test_a_bar_begins_at_zero_and_its_interval_is_on_the_same_scale():
    shown = drawn(
        {"bars": [{"label": "a", "value": -5.0, "low": -10, "high": 0}, {"label": "b", "value": 10.0}]} | BARS,
        "bar_chart",
    )
    assert '<rect class="bars quiet" x="25%" y="18" width="25%" height="14"/>' in shown
    assert '<line x1="0%" x2="50%" y1="25" y2="25"/>' in shown
    assert 'aria-label="a: −5 (−10 to 0)"' in shown


BARS = {"unit": "rmse", "head": "form"}


@pytest.mark.parametrize("tag", ["bar_chart", "scatter_chart"])
def test_an_empty_plot_is_said(tag):
    assert "No values to draw" in drawn(None, tag)


def test_a_point_stands_by_its_two_values_and_what_no_axis_holds_is_said():
    points = [
        {"label": "<i>", "x": 1.0, "y": 1.0},
        {"label": "b", "x": 100.0, "y": 2.0},
        {"label": "c", "x": 0, "y": 1},
    ]
    shown = drawn({"points": points, "x_unit": "lr", "y_unit": "rmse", "log_x": True}, "scatter_chart")
    assert 'aria-label="b: lr 100, rmse 2"' in shown
    assert "1 point has no place on these axes." in shown
    assert "<i>" not in shown


def test_a_sparkline_is_broken_by_a_gap_and_says_its_values():
    shown = charts.sparkline([1.0, 3.0, None, 2.0, 5.0], "loss")
    assert re.search(r'd="M3 17L[\d. ]+M[\d. ]+L93 3"', shown)
    assert "loss: 1, at last 5, between 1 and 5" in shown
    assert charts.sparkline([1.0], "loss") == ""
