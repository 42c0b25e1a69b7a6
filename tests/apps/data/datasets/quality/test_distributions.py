"""The distributions of columns, and those of two versions on one axis."""

import pytest

from apps.data.datasets.quality.distributions import build_distribution, resample_bins


def numbers(edges, counts, name="close"):
    return {"name": name, "dtype": "double", "numeric": {"histogram": {"edges": edges, "counts": counts}}}


def test_the_same_bins_are_laid_over_each_other_as_they_are():
    drawn = build_distribution(numbers([0, 1, 2], [3, 4]), numbers([0, 1, 2], [1, 1]))
    assert (drawn.kind, drawn.edges, drawn.counts, drawn.before, drawn.estimated) == (
        "numbers",
        [0, 1, 2],
        [3, 4],
        [1, 1],
        False,
    )


def test_other_bins_are_counted_into_common_ones():
    drawn = build_distribution(numbers([0.0, 10.0], [10]), numbers([5.0, 25.0], [20]))
    assert (drawn.edges[0], drawn.edges[-1], len(drawn.counts), drawn.estimated) == (0, 25, 20, True)
    assert sum(drawn.counts) == pytest.approx(10)
    assert sum(drawn.before) == pytest.approx(20)
    assert drawn.before[0] == 0


@pytest.mark.parametrize("edges", [[0, 1, 2, 3, 4], [0, 1.5, 4], [-1, 5], [0, 4]])
def test_counting_again_loses_nothing(edges):
    assert sum(resample_bins(([0, 1, 4], [5, 7]), edges)) == pytest.approx(12)


def test_a_bin_without_width_goes_whole_into_one():
    assert resample_bins(([2, 2], [5]), [0, 1, 2, 3]) == [0, 0, 5]


def test_one_value_each_and_no_span_between_stays_apart():
    assert build_distribution(numbers([1, 1], [5]), numbers([1, 1.0], [2])).before == [2]


def test_dates_are_seconds():
    told = {"edges": ["1970-01-01", "1970-01-02", "1970-01-03T00:00:00"], "counts": [1, 2]}
    drawn = build_distribution({"name": "day", "dates": {"histogram": told}})
    assert (drawn.kind, drawn.edges, drawn.counts) == ("dates", [0, 86_400, 172_800], [1, 2])


def test_a_year_that_no_calendar_here_has_is_not_drawn():
    told = {"edges": ["-0100-01-01", "1970-01-02"], "counts": [1]}
    assert build_distribution({"name": "day", "dates": {"histogram": told}}) is None


def test_values_have_the_other_versions_count_beside_them():
    here = {"name": "desk", "top": [["a", 3], ["b", 1]], "distinct": 2}
    assert build_distribution(here).top == [("a", 3, None), ("b", 1, None)]
    drawn = build_distribution(here, {"top": [["a", 2], ["c", 2]]}, rows=4)
    assert (drawn.kind, drawn.top, drawn.rows) == ("values", [("a", 3, 2), ("b", 1, 0), ("c", 0, 2)], 4)
    assert (drawn.listed, drawn.has_before) == (2, True)


def test_a_value_that_a_report_does_not_name_is_absent_only_if_it_names_all():
    here, rare = {"top": [["a", 3], ["b", 2]], "distinct": 2}, {"top": [["a", 5], ["c", 4]], "distinct": 9}
    assert build_distribution(here, rare).top == [("a", 3, 5), ("b", 2, None), ("c", 0, 4)]
    assert build_distribution(rare, here).top == [("a", 5, 3), ("c", 4, 0), ("b", None, 2)]
    assert build_distribution(rare, here).listed == 2


@pytest.mark.parametrize(
    "column", [{}, {"numeric": None, "dates": None, "top": None}, {"numeric": {"histogram": None}}]
)
def test_an_older_report_has_nothing_to_draw(column):
    assert build_distribution({"name": "x"} | column) is None
