"""Parallel coordinates of compared runs: which axes, which ranges, who is within them, and nonsense that is said."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from django.http import QueryDict

from apps.core.errors import Invalid
from apps.ml.experiments import queries
from apps.ml.experiments.comparison.parallel_coordinates import AXES, build_parallel_chart, list_kept_params
from apps.web.templatetags.parallel_coordinates import draw_parallel_chart

pytestmark = pytest.mark.django_db

LR, OPTIMISER = ("0.0001", "0.01", "0.1"), ("sgd", "adam", "adam")


@pytest.fixture
def three(start, log):
    runs = [
        start(name=f"r{place}", params={"lr": lr, "optimiser": word, "seed": "1"})
        for place, (lr, word) in enumerate(zip(LR, OPTIMISER, strict=True))
    ]
    for run, value in zip(runs, (0.3, 0.2, 0.1), strict=True):
        log(run, loss=[9, value], **{"system/cpu_utilization_percentage": [value * 100]})
    return runs


@pytest.fixture
def drawn(three, actor_for, engineer, project):
    """drawn(query) -> the chart of the three runs."""

    def ask(query="", runs=three):
        found = queries.compare_runs(actor_for(engineer), project, [run.pk for run in runs])
        return build_parallel_chart(found, QueryDict(query), "loss", [(run.name, "") for run in runs])

    return ask


def axes(chart) -> list[str]:
    return [axis.key for axis in chart["axes"]]


def test_what_differs_and_the_metric_that_counts_last(drawn):
    chart = drawn()
    assert axes(chart) == ["lr", "optimiser", "loss"]
    lr, optimiser, loss = chart["axes"]
    assert (lr.log, lr.values) == (True, [0.0001, 0.01, 0.1])
    assert optimiser.words == ["adam", "sgd"]
    assert loss.values == [0.3, 0.2, 0.1]
    assert [line["inside"] for line in chart["lines"]] == [True, True, True]


def test_the_machine_is_offered_last_and_not_drawn(drawn):
    chart = drawn()
    assert chart["offered"][-1] == {"key": "system/cpu_utilization_percentage", "shown": False}


def test_axes_are_chosen_in_the_order_asked_for(drawn):
    assert axes(drawn("axis=loss&axis=lr")) == ["loss", "lr"]


def test_ranges_leave_runs_out(drawn):
    for query, inside in (
        ("min:lr=0.001", [False, True, True]),
        ("max:loss=0.25&min:lr=0.05", [False, False, True]),
        ("is:optimiser=adam", [False, True, True]),
        ("min:loss=0.1&max:loss=0.3", [True, True, True]),
    ):
        chart = drawn(query)
        assert [line["inside"] for line in chart["lines"]] == inside, query
        assert (bool(chart["bounded"]), chart["inside"]) == (True, sum(inside)), query


def test_those_within_can_be_compared_alone(drawn, three):
    assert drawn("min:lr=0.001")["kept"] == f"{three[1].pk},{three[2].pk}"
    assert drawn("min:lr=0.05")["kept"] == ""


def test_an_invalid_query_names_its_parameter(drawn):
    for query, field in (
        ("min:lr=much", "min:lr"),
        ("min:lr=2&max:lr=1", "min:lr"),
        ("axis=seed&axis=lr", "axis"),
        ("axis=lr", "axis"),
        ("min:lr=nan", "min:lr"),
    ):
        with pytest.raises(Invalid) as refused:
            drawn(query)
        assert refused.value.field == field, query


def test_a_run_without_a_value_is_within_no_range_of_it(drawn, three, start, log):
    other = start(name="bare", params={"optimiser": "sgd"})
    log(other, loss=[1])
    chart = drawn("min:lr=0", runs=[*three, other])
    assert [line["inside"] for line in chart["lines"]] == [True, True, True, False]


def test_a_param_with_a_word_among_numbers_is_of_words(drawn, three, start):
    other = start(name="auto", params={"lr": "auto"})
    lr = drawn(runs=[*three, other])["axes"][0]
    assert lr.words == ["0.0001", "0.01", "0.1", "auto"]


def test_equal_runs_have_nothing_to_draw(drawn, start):
    assert drawn(runs=[start(name="x"), start(name="y")]) is None


def test_the_form_carries_on_the_rest_of_the_address():
    query = QueryDict("ids=a,b&axis=lr&min:lr=1&smooth=0.5")
    assert list_kept_params(query) == [("ids", "a,b"), ("smooth", "0.5")]


def test_the_drawing_has_axes_lines_and_what_is_asked_for(drawn):
    chart = drawn("min:lr=0.001")
    text = str(draw_parallel_chart(chart["axes"], chart["lines"]))
    assert text.count('class="ax"') == 3
    assert text.count('<path class="ln') == 3
    assert text.count("faint") == 4  # the line and its three marks
    assert 'class="held"' in text
    assert 'data-brush="lr" data-low="-4' in text
    assert 'data-brush="optimiser"' not in text


def test_names_and_words_are_cut_to_the_room_between_two_axes(start):
    one = SimpleNamespace(key="k" * 60, values=["w" * 60], words=["w" * 60], low=None, high=None, only=None)
    one.log = one.is_bounded = False
    line = {"label": "r", "url": "", "place": 0, "inside": True}

    def seen(count):
        text = re.sub("<title>.*?</title>", "", str(draw_parallel_chart([one] * count, [line])))
        return [max(len(run) for run in re.findall(f">({letter}+)…<", text)) for letter in "kw"]

    assert seen(3) == [31, 44]
    assert seen(8) == [17, 11]
    one.log = True
    assert f"{'k' * 11}… (log)<title>{'k' * 60}<" in str(draw_parallel_chart([one] * 8, [line]))


def test_what_is_read_lies_over_the_lines(drawn):
    chart = drawn()
    text = str(draw_parallel_chart(chart["axes"], chart["lines"]))
    assert text.rindex('<path class="ln') < text.index(">adam<title>")


def test_a_name_from_outside_is_escaped(drawn, three, start):
    pair = [start(name=str(place), params={"<b>": str(place), "k": f"<i>{place}"}) for place in range(2)]
    chart = drawn(runs=pair)
    text = str(draw_parallel_chart(chart["axes"], chart["lines"]))
    assert "<b>" not in text
    assert "<i>" not in text


def test_too_many_axes_are_refused(drawn, start):
    pair = [start(name=str(one), params={f"p{n}": str(one) for n in range(AXES + 1)}) for one in range(2)]
    with pytest.raises(Invalid):
        drawn("&".join(f"axis=p{n}" for n in range(AXES + 1)), runs=pair)


# -- on the page ----------------------------------------------------------------------------------------------------
@pytest.fixture
def page(web, engineer, project, three):
    ids = ",".join(run.pk for run in three)
    client = web(engineer)

    def ask(query="", status=200):
        answer = client.get(f"/p/{project.slug}/runs/compare?ids={ids}&{query}")
        assert answer.status_code == status
        return answer.content.decode()

    return ask


def test_the_page_says_how_many_are_within(page):
    assert "2 of 3 runs are within the ranges" in page("min:lr=0.001")


def test_the_page_says_what_is_wrong_and_still_draws(page):
    text = page("min:lr=much", status=422)
    assert "is no number" in text
    assert "one line for each run" in text


def test_only_what_differs(page):
    assert "Equal values" in page()
    assert "Equal values" not in page("metrics=differing")


def test_points_are_shaded_by_a_third(page):
    assert 'fill-opacity="1.0"' in page("sx=lr&sy=loss&sc=loss")
    assert "optimiser adam" in page("sx=lr&sy=loss&sc=optimiser")
    assert "fill-opacity" not in page("sx=lr&sy=loss&sc=nothing")
