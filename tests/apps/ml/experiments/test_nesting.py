"""Runs in runs, as the list and a run's page show them."""

import pytest

from apps.ml.experiments.models import Experiment, Run, RunTag
from apps.ml.experiments.nesting import load_nesting, order_as_tree

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
