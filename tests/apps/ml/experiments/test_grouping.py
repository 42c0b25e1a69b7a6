"""Runs by what they have in common: counts, a metric's mean and ends, opened groups, and nonsense."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Invalid
from apps.ml.experiments import grouping
from apps.ml.experiments.grouping import group_runs
from apps.ml.experiments.models import Run, RunTag

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def four(start, log):
    runs = [
        start(name=name, params={"opt": opt} if opt else {}, experiment=experiment)
        for name, opt, experiment in (("a", "sgd", ""), ("b", "adam", "oil"), ("c", "adam", "oil"), ("d", "", "oil"))
    ]
    for run, value in zip(runs, (4, 1, 3, 7), strict=True):
        log(run, loss=[9, value], other=[100])
    return runs


def told(by="params.opt", metric="loss", opened=()):
    found = group_runs(Run.objects.all(), by, metric, list(opened))
    return {group.key: group for group in found.groups}, found


def test_by_a_param(four):
    groups, found = told()
    assert {key: (one.runs, one.mean, one.low, one.high) for key, one in groups.items()} == {
        "=adam": (2, 2.0, 1.0, 3.0),
        "=sgd": (1, 4.0, 4.0, 4.0),
        "-": (1, 7.0, 7.0, 7.0),
    }
    assert (next(iter(groups)), found.cut, found.more) == ("=adam", False, False)


def test_by_an_experiment(four):
    groups, _found = told("experiment")
    assert {(one.label, one.runs) for one in groups.values()} == {("oil", 3), ("Default", 1)}


def test_by_a_tag_without_a_metric(four):
    RunTag.objects.create(run=four[0], key="team", value="vision")
    groups, _found = told("tags.team", metric="")
    assert {key: (one.runs, one.mean) for key, one in groups.items()} == {"-": (3, None), "=vision": (1, None)}


def test_an_opened_group_shows_its_newest(four):
    groups, _found = told(opened=["=adam", "-"])
    assert [run.name for run in groups["=adam"].opened] == ["c", "b"]
    assert [run.name for run in groups["-"].opened] == ["d"]
    assert not groups["=sgd"].opened


def test_the_filter_that_finds_a_group_alone(four):
    groups, _found = told()
    assert groups["=adam"].alone == "parameter.opt = 'adam'"
    assert groups["-"].alone == ""


def test_the_cost_has_an_end(four, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(grouping, "GROUPED", 2)
    monkeypatch.setattr(grouping, "GROUPS", 1)
    with django_assert_num_queries(1):
        _groups, found = told()
    assert (found.cut, found.more, len(found.groups)) == (True, True, 1)


@pytest.mark.parametrize(
    ("values", "mean"),
    [((1e200, 2e200), "inf"), ((float("inf"), 0.5), "inf"), ((-1e200, 1.0), "-inf"), ((-1e200, 1e200), "nan")],
)
def test_values_too_large_to_be_summed(start, log, values, mean):
    for number, value in enumerate(values):
        log(start(name=f"r{number}", params={"opt": "sgd"}), loss=[value])
    groups, _found = told()
    assert str(groups["=sgd"].mean) == mean


def test_groups_of_one_size_stand_in_one_order(start):
    for value in "bAaB":
        start(name=value, params={"opt": value})
    assert list(told(metric="")[0]) == ["=A", "=B", "=a", "=b"]


def test_only_the_newest_runs_are_grouped(four, monkeypatch):
    monkeypatch.setattr(grouping, "GROUPED", 3)
    groups, found = told()
    assert ({key: one.runs for key, one in groups.items()}, found.cut) == ({"=adam": 2, "-": 1}, True)


def test_a_filter_that_leaves_none(four):
    assert not group_runs(Run.objects.none(), "params.opt", "loss", ["-"]).groups


def test_opened_groups_cost_one_query_however_many(four, django_assert_num_queries):
    with django_assert_num_queries(2):
        groups, _found = told(opened=["=adam", "=sgd", "-"])
    assert {key: [run.name for run in group.opened] for key, group in groups.items()} == {
        "=adam": ["c", "b"],
        "=sgd": ["a"],
        "-": ["d"],
    }


@pytest.mark.parametrize("by", ["", "name", "params.", "params.\x00", "metrics.loss", "tags." + "x" * 251])
def test_what_is_nothing_to_group_by(by):
    with pytest.raises(Invalid):
        group_runs(Run.objects.all(), by, "", [])


def test_the_page(read, four):
    text = read("?group=params.opt&measure=loss&open=%3Dadam")
    assert 'aria-expanded="true"' in text
    assert "mean loss" in text
    assert "not set" in text
    assert "parameter.opt+%3D+%27adam%27" in text
    assert "group=params.opt" in text
    assert "is nothing to group by" in read("?group=nonsense", status=422)


def test_groups_have_a_shorter_list_above(read, four, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.lists.ABOVE_GROUPS", 3)
    shorter = read("?group=params.opt")
    assert shorter.count('name="ids"') == 3
    assert "limit=" not in shorter
    assert 'name="limit"' not in shorter
    assert read("?group=params.opt&limit=2").count('name="ids"') == 2
    assert read().count('name="ids"') == 4


def test_only_runs_that_fit_are_grouped(read, four):
    text = read("?group=params.opt&filter=params.opt+%3D+%27sgd%27&sort=-metrics.loss")
    assert "1 group" in text


def test_groups_of_a_filter_cost_at_most_twenty_queries(web, engineer, project, four):
    client = web(engineer)
    where = f"/p/{project.slug}/runs?group=params.opt&measure=loss&filter=metrics.loss+>+0&open=%3Dadam&open=%3Dsgd"
    client.get(where)
    with CaptureQueriesContext(connection) as seen:
        answer = client.get(where)
    assert answer.content.count(b'aria-expanded="true"') >= 2
    assert len(seen) <= 20
