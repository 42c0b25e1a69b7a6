"""Runs are ranked only among those of one kind, one target and one dataset; several may be best."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import RunDataset
from apps.ml.experiments.ranking import DATA_SLOTS, find_obstacle, list_best, rank_runs
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs import kinds
from apps.platform.jobs.models import JobOutput

pytestmark = pytest.mark.django_db


@pytest.fixture
def ranking(web, viewer, page):
    """ranking() -> what the list of runs says of its page."""
    return lambda: web(viewer).get(page()).context["ranking"]


@pytest.fixture
def digests(db):
    """Two artifacts."""
    return [Artifact.objects.create(digest=x * 64, size=1).pk for x in "12"]


@pytest.fixture
def comparison(web, viewer, page):
    """comparison(runs) -> what the page that compares them says."""

    def compare(runs):
        return web(viewer).get(page(f"/compare?ids={','.join(run.pk for run in runs)}")).context

    return compare


@pytest.fixture
def add_runs(start, log):
    """add_runs((value, what start() takes), ...) -> runs with that newest loss."""

    def add(*wanted):
        runs = []
        for value, facts in wanted:
            runs.append(start(**facts))
            log(runs[-1], loss=[9, value])
        return runs

    return add


def test_the_best_of_the_same_target_and_data_is_named(ranking, add_runs):
    same = {"params": {"target": "load_kw"}, "inputs": {"table": "a" * 64}}
    _worse, better = add_runs((0.3, same), (0.2, same))
    said = ranking()
    assert (said["runs"], said["key"], said["value"], said["obstacle"]) == ([better], "loss", 0.2, "")


def test_runs_without_the_metric_do_not_count(ranking, add_runs, start):
    add_runs((0.3, {}), (0.2, {}))
    start(params={"target": "other"})
    assert ranking()["obstacle"] == ""


@pytest.mark.parametrize(
    ("one", "other", "obstacle"),
    [
        ({"params": {"target": "load_kw"}}, {"params": {"target": "price"}}, "target"),
        ({"params": {"task": "regression"}}, {"params": {"task": "forecast"}}, "task"),
        ({"params": {"target": "load_kw"}}, {}, "target"),
        ({"inputs": {"table": "a" * 64}}, {"inputs": {"table": "b" * 64}}, "data"),
        ({"inputs": {"heldout": "a" * 64}}, {"inputs": {"heldout": "b" * 64}}, "data"),
        ({"kind": "train"}, {"kind": "quantize"}, "kind"),
    ],
)
def test_runs_that_differ_are_not_ranked(ranking, comparison, add_runs, one, other, obstacle):
    runs = add_runs((0.3, one), (0.2, other))
    assert (ranking()["obstacle"], ranking()["runs"]) == (obstacle, [])
    compared = comparison(runs)
    assert (compared["obstacle"], compared["best"]) == (obstacle, None)


def test_the_ranking_names_its_group(web, viewer, page, add_runs):
    same = {"params": {"target": "load_kw", "task": "regression"}}
    add_runs((0.3, same), (0.2, same))
    text = " ".join(web(viewer).get(page()).content.decode().split())
    assert "Ranked: 2 runs, task regression, target load_kw." in text


def test_a_mixture_offers_its_groups(web, viewer, page, add_runs):
    load, price = ({"params": {"target": name}} for name in ("load_kw", "it's"))
    add_runs((0.3, load), (0.2, load), (0.2, load), (0.1, price), (0.4, price), (0.1, {"params": {"target": "alone"}}))
    client = web(viewer)
    ranking = client.get(page()).context["ranking"]
    assert [(choice["label"], choice["runs"]) for choice in ranking["choices"]] == [
        ("target load_kw", 3),
        ("target it's", 2),
    ]
    narrowed = [client.get(page() + choice["query"]).context for choice in ranking["choices"]]
    assert [len(context["rows"]) for context in narrowed] == [3, 2]
    assert narrowed[0]["ranking"]["obstacle"] == ""


def test_held_out_rows_decide_for_metrics_of_a_test(add_runs, digests):
    tables = [{"inputs": {"table": x * 64}} for x in "ab"]
    runs = add_runs((0.3, tables[0]), (0.2, tables[1]))
    for run in runs:
        JobOutput.objects.create(job=run.job, slot="heldout", artifact_id=digests[0], name="h")
    assert (find_obstacle(runs, key="test/rmse"), find_obstacle(runs, key="val/loss")) == ("", "data")
    JobOutput.objects.filter(job=runs[0].job).update(artifact=digests[1])
    assert find_obstacle(runs, key="test/rmse") == "data"


def test_the_page_says_that_it_does_not_rank(web, viewer, page, add_runs):
    add_runs((0.3, {"params": {"target": "load_kw"}}), (0.2, {"params": {"target": "price"}}))
    text = web(viewer).get(page()).content.decode()
    assert "<b>Different targets</b>: not ranked." in text
    assert 'class="best"' not in text


def test_quantized_forms_of_different_parents_rank_on_the_same_rows(add_runs):
    forms = [{"kind": "quantize", "inputs": {"model": x * 64, "heldout": "c" * 64}} for x in "ab"]
    assert find_obstacle(add_runs((0.3, forms[0]), (0.2, forms[1]))) == ""


def test_the_machine_of_a_compilation_is_no_target(add_runs):
    forms = [{"kind": "compile", "params": {"target": target}} for target in ("host", "aarch64")]
    assert find_obstacle(add_runs((0.3, forms[0]), (0.2, forms[1]))) == ""


def test_datasets_that_clients_recorded_count(add_runs):
    runs = add_runs((0.3, {}), (0.2, {}))
    for run, digest in zip(runs, ("aaaa", "bbbb"), strict=True):
        type(run).objects.filter(pk=run.pk).update(kind="")
        run.refresh_from_db()
        RunDataset.objects.create(run=run, name="wti", digest=digest)
    assert find_obstacle(runs) == "data"


def test_a_tie_names_both(ranking, comparison, web, viewer, page, add_runs):
    first, second, third = add_runs((0.2, {"name": "one"}), (0.2, {"name": "two"}), (0.3, {"name": "three"}))
    assert {run.pk for run in ranking()["runs"]} == {first.pk, second.pk}
    text = web(viewer).get(page()).content.decode()
    assert "tie for best" in text
    assert text.count('class="best"') == 2
    compared = comparison([first, second, third])
    assert compared["best_runs"] == [first, second]
    assert [cell.is_best for cell in compared["best"]["cells"]] == [True, True, False]


def test_equal_values_rank_nobody(add_runs):
    runs = add_runs((0.2, {}), (0.2, {}))
    metrics = [run.metrics.get(key="loss") for run in runs]
    assert list_best(metrics, "lower") == []
    values = {run.pk: {"loss": metric} for run, metric in zip(runs, metrics, strict=True)}
    assert rank_runs(runs, ["loss"], {"loss": "lower"}, values) is None


def test_every_kind_that_is_tracked_has_a_slot_of_data():
    tracked = {name: {*kind.inputs, *kind.optional_inputs} for name, kind in kinds.KINDS.items() if kind.tracked}
    lacking = [name for name, slots in tracked.items() if slots.isdisjoint(DATA_SLOTS)]
    # These tests track the first; the images of the second are its data; all inputs of the last are, but its code.
    assert lacking == ["noop", "train_image", "script"]


def test_models_of_other_images_are_not_ranked(start):
    first = {"images/a.png": "1" * 64, "images/b.png": "2" * 64}
    other, from_weights = first | {"images/b.png": "3" * 64}, first | {"weights": "4" * 64}
    runs = [start(kind="train_image", inputs=inputs) for inputs in (first, from_weights, other)]
    assert (find_obstacle(runs[:2]), find_obstacle(runs)) == ("", "data")


def test_runs_of_a_script_on_other_data_are_not_ranked(start):
    first = {"code": "1" * 64, "wti/table.csv": "2" * 64}
    same, other = first | {"code": "3" * 64}, first | {"wti/table.csv": "4" * 64}
    runs = [start(kind="script", inputs=inputs) for inputs in (first, same, other)]
    assert (find_obstacle(runs[:2]), find_obstacle(runs)) == ("", "data")
