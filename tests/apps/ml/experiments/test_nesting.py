"""Runs in runs, as the list and a run's page show them."""

import itertools

import pytest

from apps.ml.experiments.models import Experiment, Run, RunTag
from apps.ml.experiments.nesting import load_nesting, order_as_tree
from apps.ml.experiments.workspace.tree import MAX_PARENTS

pytestmark = pytest.mark.django_db


@pytest.fixture
def tree(project):
    """{name: run} of a parent with two children, one of which has a child, and a run beside them; newest last."""
    experiment = Experiment.objects.create(project=project, number=0, name="Default")
    runs = {
        name: Run.objects.create(project=project, experiment=experiment, name=name)
        for name in ("parent", "a", "deep", "b", "alone")
    }
    for child, parent in (("a", "parent"), ("b", "parent"), ("deep", "a")):
        RunTag.objects.create(run=runs[child], key="mlflow.parentRunId", value=runs[parent].pk)
    return runs


def test_children_follow_their_parents(tree):
    runs = list(reversed(tree.values()))
    nesting = load_nesting(runs)
    assert [run.name for run in order_as_tree(runs, nesting)] == ["alone", "parent", "b", "a", "deep"]
    assert nesting.children == {tree["parent"].pk: 2, tree["a"].pk: 1}


def test_runs_that_name_each_other_are_all_listed(tree):
    RunTag.objects.create(run=tree["parent"], key="mlflow.parentRunId", value=tree["deep"].pk)
    runs = [*tree.values()]
    assert {run.name for run in order_as_tree(runs, load_nesting(runs))} == set(tree)


def test_runs_in_a_circle_are_roots(tree, web, engineer, project):
    client, where = web(engineer), f"/p/{project.slug}/runs"
    RunTag.objects.create(run=tree["parent"], key="mlflow.parentRunId", value=tree["deep"].pk)
    assert [row["run"].name for row in client.get(where).context["rows"]] == ["alone", "deep", "a", "parent"]
    RunTag.objects.filter(run=tree["parent"]).update(value=tree["b"].pk)
    rows = client.get(where, {"expand": tree["parent"].pk}).context["rows"]
    assert [(row["run"].name, row["depth"]) for row in rows] == [("alone", 0), ("b", 0), ("parent", 0), ("a", 1)]


@pytest.mark.services  # the walk is SQL of its own
@pytest.mark.parametrize("length", [2, 5, 12, MAX_PARENTS + 3])
def test_runs_in_a_circle_of_any_length_are_listed(project, web, engineer, length):
    experiment = Experiment.objects.create(project=project, number=0, name="Default")
    runs = [Run.objects.create(project=project, experiment=experiment, name=f"r{place}") for place in range(length)]
    below = Run.objects.create(project=project, experiment=experiment, name="below")
    for child, parent in [*zip(runs, [*runs[1:], runs[0]], strict=True), (below, runs[0])]:
        RunTag.objects.create(run=child, key="mlflow.parentRunId", value=parent.pk)
    rows = web(engineer).get(f"/p/{project.slug}/runs").context["rows"]
    shown = {row["run"].name for row in rows}
    assert shown - {"below"} == {run.name for run in runs}
    assert ("below" in shown) == (length > MAX_PARENTS)


@pytest.mark.services
def test_a_chain_that_is_deeper_than_the_tree_goes_on_as_roots(project, web, engineer):
    experiment = Experiment.objects.create(project=project, number=0, name="Default")
    runs = [Run.objects.create(project=project, experiment=experiment, name=f"r{place}") for place in range(23)]
    for parent, child in itertools.pairwise(runs):
        RunTag.objects.create(run=child, key="mlflow.parentRunId", value=parent.pk)
    rows = web(engineer).get(f"/p/{project.slug}/runs").context["rows"]
    assert [row["run"].name for row in rows] == ["r22", "r21", "r20", "r0"]


def test_the_list_folds_nested_runs_and_expands_them(tree, web, engineer, project):
    client, where = web(engineer), f"/p/{project.slug}/runs"

    def list_names(**query):
        return [row["run"].name for row in client.get(where, query).context["rows"]]

    parent, child = tree["parent"].pk, tree["a"].pk
    assert list_names() == ["alone", "parent"]
    assert list_names(expand=parent) == ["alone", "parent", "b", "a"]
    assert list_names(expand=f"{parent},{child}") == ["alone", "parent", "b", "a", "deep"]
    assert list_names(expand=f"{child},nonsense,{'0' * 32}") == ["alone", "parent"]
    assert list_names(tree="off") == ["alone", "parent", "b", "a", "deep"]
    text = client.get(where, {"expand": parent}).content.decode()
    assert (text.count('class="txt nested"'), 'aria-expanded="true"' in text) == (2, True)


def test_children_are_paged_on_the_server(tree, web, engineer, project, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.workspace.tree.CHILDREN_PER_PAGE", 1)
    client, where, parent = web(engineer), f"/p/{project.slug}/runs", tree["parent"].pk
    first = client.get(where, {"expand": parent}).context["rows"]
    assert [row["run"].name for row in first] == ["alone", "parent", "b"]
    assert first[1]["next"] == f"?expand={parent}.2"
    second = client.get(where, {"expand": f"{parent}.2"}).context["rows"]
    assert ([row["run"].name for row in second], second[1]["next"]) == (["alone", "parent", "a"], "")
    assert second[1]["previous"] == f"?expand={parent}"


def test_a_child_of_a_parent_that_is_gone_is_listed(tree, web, engineer, project):
    Run.objects.filter(pk=tree["parent"].pk).update(deleted_at=tree["parent"].started_at)
    RunTag.objects.create(run=tree["alone"], key="mlflow.parentRunId", value=tree["alone"].pk)
    rows = web(engineer).get(f"/p/{project.slug}/runs").context["rows"]
    assert [row["run"].name for row in rows] == ["alone", "b", "a"]


def test_a_filtered_list_is_flat(tree, web, engineer, project):
    client, where = web(engineer), f"/p/{project.slug}/runs"
    listed = client.get(where, {"filter": f"tags.`mlflow.parentRunId` = '{tree['parent'].pk}'"})
    assert {row["run"].name for row in listed.context["rows"]} == {"a", "b"}
    assert len(client.get(where, {"status": "running"}).context["rows"]) == 5
    assert client.get(where, {"format": "csv"}).getvalue().count(b"\n") == 6
    assert "Parent run" in client.get(f"{where}/{tree['a'].pk}").content.decode()
