"""What counts as the same: series, figures, outputs, inputs, of any two runs of one kind."""

from __future__ import annotations

import math

import pytest

from apps.core.errors import Conflict, Invalid
from apps.ml.experiments.models import Experiment, Run, RunParam
from apps.ml.reruns import verdict_text
from apps.ml.reruns.states import Verdict
from apps.ml.reruns.tolerance import Tolerance, build_tolerance, compute_difference
from apps.ml.reruns.verdicts import compare_pair

pytestmark = [pytest.mark.django_db, pytest.mark.services]
FIGURES = {
    "schema": "plane/figures/v1",
    "rows": 100,
    "size_bytes": 10,
    "metrics": [{"name": "rmse", "value": 0.5, "low": 0.4, "high": 0.6, "better": "lower"}],
    "latency": [{"batch": 1, "median_us": 2.0}],
    "notes": ["It is 3 times as fast."],
}


@pytest.fixture
def between(actor_for, engineer):
    """between(was, now, tolerance=Tolerance(), **more) -> the document."""

    def judge(was, now, tolerance=None, **more):
        asked = {"run": now, "against": was, "tolerance": tolerance or Tolerance(), **more}
        return compare_pair(actor=actor_for(engineer), **asked)

    return judge


@pytest.fixture
def two(add_job, end):
    """two(was={}, now={}) -> the runs of two trainings that differ by what `end` is told."""

    def make(was=None, now=None):
        return end(add_job(), **(was or {})), end(add_job(), **(now or {}))

    return make


NAN, INF = math.nan, math.inf


def test_a_series(between, two):
    cells = [
        ([1, 2, 3], [1, 2, 3], "identical", None),
        ([1, NAN, INF], [1, NAN, INF], "identical", None),
        ([1, 2, 3], [1, 2 * (1 + 9e-5), 3], "within_tolerance", 2),
        ([0, 1], [9e-10, 1], "within_tolerance", 1),
        ([1, 2, 3], [1, 2, 3 * (1 + 2e-4)], "different", 3),
        ([1, 2], [1, NAN], "different", 2),
        ([1, INF], [1, 2], "different", 2),
        ([1, INF], [1, -INF], "different", 2),
        ([1, 2, 3], [1, 2], "different", 3),
        ([1, 2], [1, 2, 3], "different", 3),
    ]
    wrong = []
    for was, now, verdict, step in cells:
        document = between(*two({"loss": was}, {"loss": now}))
        found = document["verdict"], [one["first_step"] for one in document["metrics"]["items"]]
        if found != (verdict, [step] if step else []):
            wrong.append((was, now, found))
    assert wrong == []


def test_a_metric_that_only_one_has(between, two):
    document = between(*two({"loss": [1]}, {"loss": [1], "acc": [1]}))
    worst = document["metrics"]["items"][0]
    assert (document["verdict"], worst["key"], worst["was"], worst["now_count"]) == ("different", "acc", None, 1)


def test_the_worst_stands_first(between, two):
    document = between(*two({"a": [1], "b": [1], "c": [1]}, {"a": [1.00001], "b": [1.1], "c": [2]}))
    assert [one["key"] for one in document["metrics"]["items"]] == ["c", "b", "a"]


def test_what_is_of_the_clock_or_the_machine_or_weighs_is_left_out(between, two):
    keys = ["system/cpu", "size_bytes", "size_ratio", "latency_us_batch_1", "latency_ratio_batch_32"]
    document = between(*two({key: [10] for key in keys}, {key: [11] for key in keys}))
    assert (document["verdict"], document["metrics"]["compared"]) == ("identical", 0)


def test_points_in_another_order_are_the_same(between, two):
    was, now = two({"loss": [1, 2]}, {"loss": [1, 2]})
    now.metrics.update(digest="f" * 64)
    assert between(was, now)["verdict"] == Verdict.IDENTICAL


@pytest.mark.parametrize("count", [2, 30])
def test_many_metrics_cost_no_more_queries(between, two, django_assert_num_queries, count):
    keys = [f"k{number}" for number in range(count)]
    was, now = two({key: [1, 2] for key in keys}, {key: [1, 3] for key in keys})
    with django_assert_num_queries(7):  # who asks (2), metrics of both, points, outputs of both
        document = between(was, now)
    assert (document["metrics"]["different"], document["metrics"]["items"][0]["first_step"]) == (count, 2)


def test_series_compare_alike_however_many_points_are_read_at_once(between, two, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.queries.POINTS_PER_READ", 2)
    was, now = two({"a": [1, 2], "b": [1, 2, 3], "c": [5]}, {"a": [1, 3], "b": [1, 2, 4], "c": [6]})
    for together in (1, 5, 9, 5000):
        monkeypatch.setattr("apps.ml.reruns.series.MAX_POINTS_PER_QUERY", together)
        first_steps = {one["key"]: one["first_step"] for one in between(was, now)["metrics"]["items"]}
        assert first_steps == {"a": 2, "b": 3, "c": 1}, together


def test_short_series_count_against_the_budget(between, two):
    was, now = two({"a": [1], "b": [1]}, {"a": [1.00001], "b": [1.00001]})
    assert between(was, now, points=3)["verdict"] == Verdict.UNDECIDED
    assert between(was, now, points=4)["verdict"] == Verdict.WITHIN_TOLERANCE


def test_a_budget_that_ends_too_early_leaves_it_undecided(between, two, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.queries.POINTS_PER_READ", 2)
    was, now = two({"loss": [1, 2, 3, 4, 5]}, {"loss": [1, 2, 3, 4, 9]})
    document = between(was, now, points=4)
    assert (document["verdict"], document["metrics"]["items"][0]["complete"]) == (Verdict.UNDECIDED, False)
    assert "more points than one request reads" in verdict_text.summarize_verdict(document)
    assert between(was, now)["verdict"] == Verdict.DIFFERENT


def test_a_budget_that_ends_behind_a_difference_is_enough(between, two, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.queries.POINTS_PER_READ", 2)
    was, now = two({"loss": [1, 2, 3, 4, 5]}, {"loss": [8, 2, 3, 4, 5]})
    assert between(was, now, points=4)["verdict"] == Verdict.DIFFERENT


def with_figures(**changed):
    figures = {**FIGURES, **changed}
    return {"figures": figures, "outputs": {"figures/figures.json": repr(figures).encode()}}


def test_figures_that_differ_in_times_alone(between, two):
    document = between(*two(with_figures(), with_figures(latency=[{"batch": 1, "median_us": 3.0}], notes=["Slow."])))
    assert (document["verdict"], document["figures"]["differing"]) == (Verdict.IDENTICAL, 0)
    assert document["outputs"]["items"][0]["times_only"] is True
    assert "only timings differ" in verdict_text.describe_outcome(document)


def test_a_figure_outside_the_tolerance(between, two):
    metrics = [{**FIGURES["metrics"][0], "high": 0.9}]
    document = between(*two(with_figures(), with_figures(metrics=metrics)))
    only = document["figures"]["items"][0]
    assert (document["verdict"], only["path"], only["was"], only["now"]) == ("different", "metrics.rmse.high", 0.6, 0.9)
    assert document["outputs"]["items"][0]["times_only"] is False


def test_figures_beyond_those_that_are_named_are_counted(between, two, monkeypatch):
    monkeypatch.setattr("apps.ml.reruns.metric_comparison.MAX_ITEMS", 1)
    metrics = [{**FIGURES["metrics"][0], "high": 0.9, "value": 0.7}]
    document = between(*two(with_figures(), with_figures(metrics=metrics)))
    assert (document["figures"]["outside"], len(document["figures"]["items"])) == (2, 1)
    assert "2 figures" in verdict_text.describe_outcome(document)


def test_a_figure_that_is_a_word(between, two):
    metrics = [{**FIGURES["metrics"][0], "better": "higher"}]
    assert between(*two(with_figures(), with_figures(metrics=metrics)))["verdict"] == Verdict.DIFFERENT


def test_an_output_that_only_one_has(between, two):
    document = between(*two({"outputs": {"model/a": b"1"}}, {}))
    assert (document["verdict"], document["outputs"]["items"][0]["now"]) == (Verdict.DIFFERENT, "")
    assert verdict_text.describe_outcome(document) == "They did not make the same outputs."


def test_a_changed_field_of_the_spec_is_named(between, add_job, end):
    was, now = end(add_job(), loss=[1]), end(add_job(seed=7, hidden=[8, 8]), loss=[2])
    document = between(was, now)
    told = {(one["kind"], one["name"]): (one["was"], one["now"]) for one in document["inputs"]}
    assert told == {("spec", "seed"): ("0", "7"), ("spec", "hidden"): ("[64, 64]", "[8, 8]")}
    assert "seed in the spec" in verdict_text.explain_verdict(document)


@pytest.mark.parametrize(("count", "ending"), [(5, "fourth, fifth."), (6, "fourth. And 2 more.")])
def test_one_more_than_is_named_is_named_too(count, ending):
    names = ["first", "second", "third", "fourth", "fifth", "sixth"][:count]
    told = {"inputs": [{"kind": "package", "name": name} for name in names], "unrecorded": []}
    assert verdict_text.explain_verdict(told).endswith(ending)


def test_other_data_is_named_by_its_slot(between, two):
    was, now = two({"loss": [1]}, {"loss": [2], "inputs": {"table": "b" * 64}})
    document = between(was, now)
    assert document["inputs"] == [{"kind": "data", "name": "table", "was": was.inputs["table"], "now": "b" * 64}]


def test_a_changed_environment_is_named(between, add_job, end):
    was = end(add_job())
    for environment, kind in (
        ({"python": "3.12.1"}, "python"),
        ({"platform": "Linux-7"}, "platform"),
        ({"threads": 8}, "threads"),
        ({"gpus": [{"index": 1, "name": "H", "driver": "5"}]}, "gpu"),
        ({"image": {"name": "vision", "digest": "sha256:ab"}}, "image"),
    ):
        now = end(add_job(), environment=environment)
        assert [one["kind"] for one in between(was, now)["inputs"]] == [kind]


def test_which_node_it_was_is_a_circumstance(between, two):
    document = between(*two({"environment": {"node": "a", "cpus": 4}}, {"environment": {"node": "b", "cpus": 8}}))
    assert (document["inputs"], [one["kind"] for one in document["circumstances"]]) == ([], ["node", "cpus"])


def test_nothing_that_differs_explains_nothing(between, two):
    document = between(*two({"loss": [1]}, {"loss": [2]}))
    assert (document["unexplained"], document["inputs"]) == (True, [])
    assert verdict_text.explain_verdict(document) == "No recorded input differs: the work is not deterministic."


def test_a_long_value_reads_otherwise_where_it_is(between, add_job, end):
    columns = [f"column_{number}" for number in range(100)]
    spec = {"task": "regression", "target": "price"}
    was, now = end(add_job(**spec, features=columns)), end(add_job(**spec, features=[*columns, "last"]))
    only = between(was, now)["inputs"][0]
    assert only["was"] != only["now"]
    assert (only["was"][:200], len(only["was"])) == (only["now"][:200], 221)


def test_runs_from_outside_are_judged_by_their_params(between, project, actor_for):
    experiment = Experiment.objects.create(project=project, number=1, name="mlflow", created_by="x")
    facts = {"project": project, "experiment": experiment, "state": "finished", "created_by": "x"}
    was, now = (Run.objects.create(name=name, **facts) for name in "ab")
    for run, value in ((was, "1"), (now, "2")):
        RunParam.objects.create(run=run, key="lr", value=value)
    document = between(was, now)
    assert document["inputs"] == [{"kind": "spec", "name": "lr", "was": "1", "now": "2"}]
    assert document["unrecorded"] == ["code", "data", "environment", "spec"]
    RunParam.objects.update(value="1")
    assert verdict_text.explain_verdict(between(was, now)).startswith(
        "Nothing that was recorded differs; not recorded: "
    )


def test_other_kinds_are_not_judged(between, two):
    was, now = two()
    Run.objects.filter(pk=now.pk).update(kind="quantize")
    now.refresh_from_db()
    with pytest.raises(Invalid, match="is of the kind train"):
        between(was, now)


def test_a_run_beside_itself_is_nonsense(between, two):
    was, _now = two()
    with pytest.raises(Invalid, match="beside itself"):
        between(was, was)


def test_an_open_run_is_not_judged(between, two):
    was, now = two()
    now.state = "running"
    with pytest.raises(Conflict, match="has not ended"):
        between(was, now)


@pytest.mark.parametrize(("relative", "absolute"), [(-1, None), (1.5, None), (math.nan, None), (None, -1.0)])
def test_a_tolerance_of_nonsense(relative, absolute):
    with pytest.raises(Invalid, match="is not in"):
        build_tolerance(relative, absolute)


def test_distances():
    assert compute_difference(2.0, 1.0) == (1.0, 0.5)
    assert compute_difference(NAN, NAN) == compute_difference(INF, INF) == (0.0, 0.0)
    assert compute_difference(NAN, 1.0) == (INF, INF)
