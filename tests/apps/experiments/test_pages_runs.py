"""Pages of runs: what they answer at first sight, and who may see them."""

from __future__ import annotations

import math

import pytest

from apps.experiments.models import Run
from apps.jobs.models import Job

pytestmark = pytest.mark.django_db

TABS = ["", "/metrics", "/artifacts", "/environment", "/lineage", "/audit"]
FIGURES = {
    "schema": "plane/figures/v1",
    "rows": 100,
    "metrics": [{"name": "rmse", "value": 0.5, "low": 0.4, "high": 0.6, "better": "lower"}],
    "baseline": {"name": "last value", "metrics": [{"name": "rmse", "value": 1.0, "better": "lower"}]},
    "latency": [
        {"batch": 1, "threads": 1, "runs": 9, "median_us": 2, "against": "fp32", "against_median_us": 4, "ratio": 2.0}
    ],
}


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/runs{tail}"


@pytest.fixture
def read(web, engineer, page):
    """read(tail, status=200) -> the text of a page."""
    client = web(engineer)

    def ask(tail="", status=200) -> str:
        answer = client.get(page(tail))
        assert answer.status_code == status, answer.status_code
        return answer.content.decode()

    return ask


@pytest.fixture
def two(start, log):
    runs = [start(name=name, params={"lr": lr, "seed": "0"}) for name, lr in (("first", "0.1"), ("second", "0.2"))]
    for run, value in zip(runs, (0.3, 0.2), strict=True):
        log(run, train_loss=[9, 3, value])
    return runs


def test_an_empty_list_says_what_to_do_next(read, web, viewer, page):
    assert "deepseek train" in read()
    assert "An engineer of this project" in web(viewer).get(page()).content.decode()


def test_the_list_says_which_is_best_and_what_differs(read, two):
    text = read()
    assert "<b>second is best</b> of these by train_loss" in text
    assert '<td data-l="lr">0.2</td>' in text
    assert 'data-l="seed"' not in text
    assert 'sort=metrics.train_loss"' in text


def test_an_order_by_a_metric_says_who_is_left_out(read, two, start):
    start(name="without")
    text = read("?sort=-metrics.train_loss")
    assert text.index(">first<") < text.index(">second<")
    assert "without" not in text
    assert "left out" in text


def test_picked_columns_stay_in_the_address(read, two):
    text = read("?col=lr")
    assert 'data-l="lr"' in text
    assert 'data-l="train_loss"' not in text


@pytest.mark.parametrize("query", ["?status=asleep", "?sort=name", "?experiment=x"])
def test_a_filter_of_nonsense_is_said(read, two, query):
    assert "first" not in read(query, status=422)


def test_pages_of_the_list_follow_each_other(read, two):
    text = read("?limit=1")
    assert 'rel="next"' in text
    assert "first" not in text


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("state", ["running", "finished", "failed", "killed"])
def test_every_tab_in_every_state(read, run, log, finish, tab, state):
    if state != "running":
        log(run, train_loss=[3, math.nan, 1])
        finish(run, state, reason="It broke.", figures=FIGURES if state == "finished" else {})
    read(f"/{run.pk}{tab}")


def test_a_finished_run_says_how_good_it_is(read, run, finish):
    finish(run, figures=FIGURES)
    text = read(f"/{run.pk}")
    assert "<b>rmse 0.5</b>" in text
    assert "50 % lower than the baseline, last value (1)" in text
    assert "<b>2 times</b> as fast as fp32 at batch 1" in text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.4, 1.1, "no difference shown"), (0.4, 0.6, "<b>better</b>"), (None, None, "<b>better</b>")],
)
def test_better_only_where_the_interval_leaves_the_baseline_out(read, run, finish, low, high, said):
    figure = {**FIGURES["metrics"][0], "low": low, "high": high}
    finish(run, figures={**FIGURES, "metrics": [figure]})
    assert said in read(f"/{run.pk}")


@pytest.mark.parametrize(
    ("low", "high", "said"), [(-0.6, -0.4, "<b>better</b>"), (-0.6, 0.1, "no difference shown"), (0.1, 0.2, "worse")]
)
def test_a_difference_measured_row_by_row_decides(read, run, finish, low, high, said):
    """Also where the figure's own interval says something else."""
    metric = {**FIGURES["metrics"][0], "low": 0.4, "high": 1.1 if said == "<b>better</b>" else 0.6}
    paired = {"name": "rmse", "value": -0.5, "low": low, "high": high, "better": "lower"}
    baseline = {**FIGURES["baseline"], "difference": [paired]}
    finish(run, figures={**FIGURES, "metrics": [metric], "baseline": baseline})
    assert said in read(f"/{run.pk}")


@pytest.mark.parametrize(("ratio", "said"), [(4.0, "<b>4 times</b> smaller"), (0.25, "<b>4 times</b> larger")])
def test_a_form_is_smaller_or_larger_than_its_parent(read, run, finish, ratio, said):
    finish(run, figures={**FIGURES, "size_ratio": ratio})
    assert said in read(f"/{run.pk}")


def test_a_failed_run_says_why(read, run, finish):
    Job.objects.filter(pk=run.job_id).update(state="failed", error={"message": "The loss is not finite at step 7."})
    finish(run, "failed")
    assert "The loss is not finite at step 7." in read(f"/{run.pk}")


def test_an_open_run_renews_its_chart_and_a_closed_one_does_not(read, run, log, finish):
    log(run, train_loss=[2, 1])
    assert 'hx-trigger="every 4s"' in read(f"/{run.pk}")
    finish(run)
    assert 'hx-trigger="every 4s"' not in read(f"/{run.pk}")


def test_a_name_draws_its_line(read, run, log):
    log(run, train_loss=[2, 1], accuracy=[0.1, 0.9])
    assert "accuracy 0.9" in read(f"/{run.pk}/metrics?key=accuracy")
    assert "accuracy 0.9" not in read(f"/{run.pk}/metrics?key=train_loss")


def test_the_scale_is_in_the_address(read, run, log):
    log(run, train_loss=[1000.0, 1.0])
    assert "loss, log scale" in read(f"/{run.pk}")
    assert "log scale" not in read(f"/{run.pk}?scale=linear").replace(">Log scale<", "")


def test_compare_shows_what_differs_first(read, two):
    text = read(f"/compare?ids={two[0].pk}&ids={two[1].pk}")
    assert "<b>second (" in text
    assert text.index('<th scope="row">lr</th>') < text.index("<dt>seed</dt>")
    assert f"second {two[1].pk[:8]} 0.2" in text


def test_compare_of_one_says_how_to_choose(read, two):
    assert "Select 2 to 8 runs" in read(f"/compare?ids={two[0].pk}", status=422)


def test_data_and_code_that_differ_are_named(read, start):
    runs = [start(inputs={"table": letter * 64}) for letter in "ab"]
    Run.objects.filter(pk=runs[1].pk).update(code_digest="d" * 64)
    text = read(f"/compare?ids={runs[0].pk},{runs[1].pk}")
    assert "input table" in text
    assert "dddddddd" in text


def test_names_are_escaped(read, start, log):
    run, other = start(name="<script>alert(1)</script>", params={"<b>": "<i>"}), start(params={"<b>": "<u>"})
    log(run, **{"<script>alert(2)": [1, 2]})
    for tail in ("", *(f"/{run.pk}{tab}" for tab in TABS), f"/compare?ids={run.pk},{other.pk}"):
        text = read(tail)
        assert "<script>alert" not in text
        assert "<i>" not in text


def test_a_job_leads_to_its_run(web, engineer, run, project):
    text = web(engineer).get(f"/p/{project.slug}/jobs/{run.job_id}").content.decode()
    assert f"/p/{project.slug}/runs/{run.pk}" in text


@pytest.mark.parametrize("tail", ["", "/{run}", "/{run}/metrics", "/{run}/audit", "/compare?ids={run}"])
@pytest.mark.parametrize(("who", "status"), [("stranger", 404), ("sysadmin", 403), ("auditor", 403)])
def test_who_is_no_member_sees_nothing(request, web, page, run, tail, who, status):
    assert web(request.getfixturevalue(who)).get(page(tail.format(run=run.pk))).status_code == status


def test_a_run_that_is_not_there(read):
    read(f"/{'0' * 32}", status=404)
