"""Pages of runs: what they answer at first sight, and who may see them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest

from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.ml.experiments.files import previews
from apps.ml.experiments.models import Run
from apps.platform.artifacts.services import store_file
from apps.platform.jobs.models import Job
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from tests.apps.ml.experiments.conftest import START

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
    text = read("?columns=params.lr")
    assert 'data-l="lr"' in text
    assert 'data-l="train_loss"' not in text


def test_an_invalid_filter_is_422_without_rows(read, two):
    for query in ("?status=asleep", "?sort=name", "?experiment=x"):
        assert "first" not in read(query, status=422), query


def test_pages_of_the_list_follow_each_other(read, two):
    text = read("?limit=1")
    assert 'rel="next"' in text
    assert "first" not in text


def test_every_tab_opens_in_every_state(web, engineer, page, start, log, finish):
    client, statuses = web(engineer), {}
    for state in ("running", "finished", "failed", "killed"):
        run = start(name=state)
        if state != "running":
            log(run, train_loss=[3, math.nan, 1])
            finish(run, state, reason="It broke.", figures=FIGURES if state == "finished" else {})
        statuses |= {(state, tab): client.get(page(f"/{run.pk}{tab}")).status_code for tab in TABS}
    assert statuses == dict.fromkeys(statuses, 200)


def test_a_finished_run_says_how_good_it_is(read, run, finish):
    finish(run, figures=FIGURES)
    text = read(f"/{run.pk}")
    assert "<b>rmse 0.5</b>" in text
    assert "50 % lower than the baseline, last value (1)" in text
    assert "<b>2 times</b> as fast as fp32 at batch 1" in text


def test_better_only_where_the_interval_excludes_the_baseline(read, start, finish):
    for low, high, word in (
        (0.4, 1.1, "not significantly different"),
        (0.4, 0.6, "<b>better</b>"),
        (None, None, "<b>better</b>"),
    ):
        run = start()
        finish(run, figures={**FIGURES, "metrics": [{**FIGURES["metrics"][0], "low": low, "high": high}]})
        assert word in read(f"/{run.pk}"), (low, high)


def test_a_paired_difference_decides(read, start, finish):
    """Also where the figure's own interval says something else."""
    for low, high, word in (
        (-0.6, -0.4, "<b>better</b>"),
        (-0.6, 0.1, "not significantly different"),
        (0.1, 0.2, "worse"),
    ):
        metric = {**FIGURES["metrics"][0], "low": 0.4, "high": 1.1 if word == "<b>better</b>" else 0.6}
        paired = {"name": "rmse", "value": -0.5, "low": low, "high": high, "better": "lower"}
        baseline, run = {**FIGURES["baseline"], "difference": [paired]}, start()
        finish(run, figures={**FIGURES, "metrics": [metric], "baseline": baseline})
        assert word in read(f"/{run.pk}"), (low, high)


def test_a_reference_stands_beside_the_baseline(read, start, finish):
    paired = {"name": "rmse", "value": 0.1, "low": 0.05, "high": 0.15, "better": "lower"}
    metrics = [{"name": "rmse", "value": 0.4, "better": "lower"}]
    reference = {"name": "HistGradientBoosting", "metrics": metrics, "difference": [paired]}
    reference |= {"library": "scikit-learn 1.7", "rows": 50, "training_rows": 90, "iterations": 100}
    run = start()
    finish(run, figures={**FIGURES, "references": [reference]})
    text = " ".join(read(f"/{run.pk}").split())
    assert 'data-reference="HistGradientBoosting"' in text
    assert "100 iterations on 50 of the 90 training rows" in text
    assert "HistGradientBoosting with default settings: 0.4; this model is worse." in text


def test_a_form_is_smaller_or_larger_than_its_parent(read, start, finish):
    for ratio, words in ((4.0, "<b>4 times</b> smaller"), (0.25, "<b>4 times</b> larger")):
        run = start()
        finish(run, figures={**FIGURES, "size_ratio": ratio})
        assert words in read(f"/{run.pk}")


def test_a_failed_run_says_why(read, run, finish):
    Job.objects.filter(pk=run.job_id).update(state="failed", error={"message": "The loss is not finite at step 7."})
    finish(run, "failed")
    assert "The loss is not finite at step 7." in read(f"/{run.pk}")


def test_an_open_run_is_followed_and_a_closed_one_is_not(read, run, log, finish):
    log(run, train_loss=[2, 1])
    for tab in ("", "/metrics"):
        assert "data-live=" in read(f"/{run.pk}{tab}"), tab
    finish(run)
    for tab in ("", "/metrics"):
        assert "data-live=" not in read(f"/{run.pk}{tab}"), tab


def test_what_is_drawn_again_is_told_from_what_is_not_new(web, engineer, page, run, log):
    client, where = web(engineer), page(f"/{run.pk}/overview/charts")
    log(run, train_loss=[2, 1])
    first = client.get(where)
    known = {"HTTP_IF_NONE_MATCH": first["ETag"]}
    assert 'aria-label="step 2, train_loss 1"' in first.content.decode()
    assert client.get(where, **known).status_code == 304
    assert client.get(f"{where}?smooth=0.5", **known).status_code == 200
    log(run, train_loss=[(3, 0.5)])
    assert 'aria-label="step 3, train_loss 0.5"' in client.get(where, **known).content.decode()


def test_metrics_stand_in_the_groups_of_their_names(read, run, log):
    log(run, **{"val/acc": [1, 2], "train_loss": [2, 1], "system/gpu": [3, 4], "other": [5, 6], "test/rmse": [1]})
    text = read(f"/{run.pk}/metrics")
    places = [text.index(f'id="h-c-{name}-0"') for name in ("train", "val", "", "system")]
    assert places == sorted(places)
    assert 'id="h-c-test-0"' not in text  # one value is no line


def test_an_invalid_chart_option_is_named_and_the_default_chart_drawn(read, run, log):
    log(run, train_loss=[2, 1])
    options = {"smooth=1.5": "smooth", "x=weeks": "x", "scale=cubic": "scale"}
    for query, field in (options | {"from=9&to=2": "to", "part=time,5,2": "part"}).items():
        text = read(f"/{run.pk}?{query}", status=422)
        assert f"<b>{field}</b>" in text, query
        assert 'aria-label="step 2, train_loss 1"' in text, query


def test_a_part_is_looked_at_along_any_axis(read, run, log):
    log(run, train_loss=[float(n) for n in range(1, 60)])
    near = read(f"/{run.pk}?from=10&to=12&smooth=0.5")
    assert 'data-low="10" data-high="12"' in near
    assert 'data-x="10 11 12"' in near
    assert "since the start" in read(f"/{run.pk}?x=relative")
    assert 'data-axis="time"' in read(f"/{run.pk}?x=time")


def test_a_run_without_steps_is_drawn_by_time_by_default(read, run, log_at):
    log_at(run, train_loss=[(0, 1, 2.0), (0, 5, 1.0)], **{"system/cpu": [(0, 1, 5.0), (1, 2, 6.0)]})
    for query, axis in {"": "time", "?x=step": "step", "?x=relative": "relative"}.items():
        assert f'data-axis="{axis}"' in read(f"/{run.pk}{query}"), query
        text = read(f"/{run.pk}/metrics{query}")
        assert f'data-axis="{axis}"' in text, query
        assert '<option value="step"' in text, query


def test_a_part_in_time_is_in_the_address_and_of_its_own_axis(read, run, log_at):
    log_at(run, train_loss=[(0, second, 5.0 - second) for second in range(1, 5)])
    begin = START.timestamp()
    near = read(f"/{run.pk}?part=time,{begin + 2:.3f},{begin + 3.5:.3f}")
    assert f'data-low="{begin + 2:.15g}" data-high="{begin + 3.5:.15g}"' in near
    assert f'data-x="{begin + 2:.14g} {begin + 3:.14g}"' in near
    assert f'name="part" value="time,{begin + 2:.15g},{begin + 3.5:.15g}"' in near
    assert "data-zoom" in near
    assert 'name="part"' not in read(f"/{run.pk}?x=relative&part=time,{begin + 2:.3f},{begin + 3.5:.3f}")


def test_a_part_in_time_beyond_the_calendar_is_empty(read, run, log_at):
    log_at(run, train_loss=[(0, second, 5.0 - second) for second in range(1, 5)])
    for year in (1, 9999):
        Run.objects.filter(pk=run.pk).update(started_at=datetime(year, 6, 1, tzinfo=UTC))
        for part in ("0,1e10", "-1e10,-9e9"):
            assert "train_loss" in read(f"/{run.pk}?x=relative&part=relative,{part}"), (year, part)


def test_a_run_that_counts_some_steps_is_drawn_by_them(read, run, log_at):
    log_at(run, train_loss=[(0, 1, 2.0), (0, 5, 1.0)], val_loss=[(0, 1, 2.0), (1, 5, 1.0)])
    text = read(f"/{run.pk}/metrics")
    assert 'data-axis="step"' in text
    assert 'data-axis="time"' not in text
    assert '<option value="" selected>by step' in text


def test_runs_that_count_no_steps_are_compared_since_their_starts(read, start, log_at):
    runs = [start(), start()]
    for run in runs:
        log_at(run, train_loss=[(0, 1, 2.0), (0, 5, 1.0)])
    text = read(f"/compare?ids={runs[0].pk},{runs[1].pk}")
    assert 'data-axis="relative"' in text
    assert '<option value="" selected>since the start' in text


def test_text_is_looked_into_and_escaped_and_cut(read, run, finish, project, worker_actor, tmp_path):
    (tmp_path / "a.json").write_text('{"a": "<script>alert(1)</script>"}')
    made = store_file(actor=worker_actor, project=project, path=tmp_path / "a.json")
    finish(run, artifacts=[("out/a.json", made, "application/json")])
    text = read(f"/{run.pk}/artifacts?preview=out/a.json")
    assert "{\n  &quot;a&quot;: &quot;&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    read(f"/{run.pk}/artifacts?preview=out/b.json", status=404)


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
    assert "<b>second is best" in text
    assert text.index('<th scope="row">lr</th>') < text.index("<dt>seed</dt>")
    assert "second 0.2" in text


def test_compare_calls_none_best_where_targets_differ(read, start, log):
    runs = [start(params={"target": target}) for target in ("price", "volume")]
    for run, value in zip(runs, (0.3, 0.2), strict=True):
        log(run, train_loss=[9, value])
    text = read(f"/compare?ids={runs[0].pk},{runs[1].pk}")
    assert ("<b>Different targets</b>: not ranked." in text, "is best</b>" in text, 'class="best"' in text) == (
        True,
        False,
        False,
    )


def test_compare_of_many_is_narrow(read, start):
    runs = [start(name=f"a name that is longer than a column {n}") for n in range(8)]
    text = read(f"/compare?ids={','.join(run.pk for run in runs)}")
    assert text.count('class="tbl side tight"') >= 1
    assert "a name t…olumn 0" in text
    few = read(f"/compare?ids={runs[0].pk},{runs[1].pk}")
    assert 'class="tbl side"' in few
    assert "a name that is longer than a column 0" in few


def test_compare_of_one_says_how_to_choose(read, two):
    assert "Select 2 to 20 runs" in read(f"/compare?ids={two[0].pk}", status=422)


def measured(value, low, high) -> dict:
    return {"rows": 9, "metrics": [{"name": "rmse", "value": value, "low": low, "high": high, "better": "lower"}]}


@pytest.mark.parametrize(("bounds", "said"), [((0.45, 0.7), True), ((0.55, 0.7), False)])
def test_compare_says_whether_the_best_is_more_than_chance(read, start, log, finish, bounds, said):
    runs = [start(), start()]
    for run, value, ends in zip(runs, (0.4, 0.6), ((0.3, 0.5), bounds), strict=True):
        log(run, **{"test/rmse": [value]})
        finish(run, figures=measured(value, *ends))
    text = read(f"/compare?ids={runs[0].pk},{runs[1].pk}")
    assert f"<b>{runs[0].name} is best" in text
    assert ("<b>1 other run's interval</b>: not significant." in text) == said
    assert "+0.2" in text
    assert 'y1="25" y2="25"/>' in text  # the interval as a bar has it


def test_compare_draws_a_param_against_a_metric(read, two):
    text = read(f"/compare?ids={two[0].pk},{two[1].pk}")
    assert "train_loss against lr" in text
    assert "second: lr 0.2, train_loss 0.2" in text


def test_compare_has_metrics_before_curves_before_params(read, two, log):
    for run in two:
        log(run, **{"system/cpu": [1, 2]})
    text = read(f"/compare?ids={two[0].pk},{two[1].pk}")
    places = [text.index(f'id="{part}"') for part in ("metrics", "compared-lines", "df", "mo")]
    assert places == sorted(places)
    assert (text.count("System metrics"), 'class="n differs"' in text, "Parallel coordinates" in text) == (
        1,
        True,
        False,
    )


def test_compare_names_what_the_runs_read(read, start, artifact, project):
    dataset = Dataset.objects.create(project=project, name="load", created_by="x", versions_count=1)
    facts = {"manifest": "{}", "media_type": "text/csv", "size": 1, "created_by": "x", "digest": "1" * 64}
    version = DatasetVersion.objects.create(dataset=dataset, number=1, **facts)
    DatasetFile.objects.create(version=version, path="t.csv", artifact=artifact, media_type="text/csv")
    runs = [start(name=name, inputs={"table": digest}) for name, digest in (("a", artifact.pk), ("b", "b" * 64))]
    text = read(f"/compare?ids={runs[0].pk},{runs[1].pk}")
    assert text.count(f'href="/p/{project.slug}/data/load/1"') == 2  # beside the params, and as the input that differs


def test_compare_keeps_its_selection_and_takes_one_more(read, two, start):
    other = start(name="third")
    text = read(f"/compare?ids={two[0].pk},{two[1].pk}&smooth=0.5")
    assert f'<option value="{other.pk}">' in text
    assert f'name="ids" value="{two[0].pk},{two[1].pk}"' in text
    assert "third" in read(f"/compare?ids={two[0].pk},{two[1].pk}&ids={other.pk}")


def test_what_a_run_was_made_of_is_named_as_lineage_has_it(read, start, worker_actor, project):
    run = start(inputs={"table": "a" * 64})
    taken = EdgeSpec.between(End("dataset_version", "7", label="raw v3"), End("job", str(run.job_id)), "table")
    record_edges(actor=worker_actor, project=project, edges=[taken])
    Job.objects.filter(pk=run.job_id).update(state="succeeded")
    assert '/7">raw v3</a>' in read(f"/{run.pk}")


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


def test_users_outside_the_project_cannot_read_runs(web, page, run, stranger, sysadmin, auditor):
    tails = ("", f"/{run.pk}", f"/{run.pk}/metrics", f"/{run.pk}/audit", f"/compare?ids={run.pk}")
    for user, status in ((stranger, 404), (sysadmin, 403), (auditor, 403)):
        client = web(user)
        statuses = {tail: client.get(page(tail)).status_code for tail in tails}
        assert statuses == dict.fromkeys(tails, status), user.username


def test_a_run_that_is_not_there(read):
    read(f"/{'0' * 32}", status=404)


def test_lines_of_json_take_no_more_room_than_is_shown():
    deep = "[" * 200 + ",".join(["1"] * 100_000) + "]" * 200
    text, cut = previews.decode_text(deep.encode(), len(deep), lines=True)
    assert (len(text), cut) == (previews.TEXT_LIMIT, True)
    assert text.startswith("[\n  [\n")
    assert len(previews.render_json_start(json.loads(deep))) < 2 * previews.TEXT_LIMIT
    assert previews.render_json_start({"a": [1, "ä"]}) == '{\n  "a": [\n    1,\n    "ä"\n  ]\n}'


# -- what the machine did -------------------------------------------------------------------------------------------
CPU = "system/cpu_utilization_percentage"


def test_the_machine_has_a_section_of_its_own(read, start, log):
    run = start(name="one")
    log(run, loss=[3, 2, 1], **{CPU: [10, 20, 30]})
    text = read(f"/{run.pk}/metrics")
    assert 'id="sys"' in text
    assert text.index('id="h-c--0"') < text.index('id="sys"') < text.index("h-c-system-0")
    assert 'id="run-system"' in text
    assert CPU not in text[text.index('id="run-metrics"') : text.index('id="run-system"')]


def test_the_machine_is_no_answer_and_no_newest_value(read, start, log):
    run = start(name="one")
    log(run, **{CPU: [10, 20, 30]})
    text = read(f"/{run.pk}")
    assert CPU not in text
    assert "no metrics yet." in text


def test_the_machine_alone_is_drawn(read, start, log):
    run = start(name="one")
    log(run, **{CPU: [10, 20, 30]})
    assert 'id="sys"' in read(f"/{run.pk}/metrics")
    assert f"key={CPU.replace('/', '%2F')}" in read(f"/{run.pk}/metrics")
    assert "All charts" in read(f"/{run.pk}/metrics?key={CPU}")


def test_the_machine_is_a_column_for_who_asks(read, start, log):
    log(start(name="one"), loss=[1], **{CPU: [10]})
    assert CPU not in read("")
    assert CPU in read(f"?columns=metrics.{CPU}")
