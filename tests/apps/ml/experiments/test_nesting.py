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


def test_the_list_and_the_page_show_it(tree, web, engineer, project):
    client = web(engineer)
    text = client.get(f"/p/{project.slug}/runs").content.decode()
    assert (text.count('class="txt nested"'), "2 nested runs" in text) == (3, True)
    listed = client.get(f"/p/{project.slug}/runs", {"filter": f"tags.`mlflow.parentRunId` = '{tree['parent'].pk}'"})
    assert {row["run"].name for row in listed.context["rows"]} == {"a", "b"}
    assert "Parent run" in client.get(f"/p/{project.slug}/runs/{tree['a'].pk}").content.decode()
