"""The page of a project's experiments, and the sections of the rail that a role has."""

import pytest

from apps.ml.experiments.models import Experiment, Run

pytestmark = pytest.mark.services


@pytest.fixture
def experiments(project) -> list[Experiment]:
    return [
        Experiment.objects.create(project=project, number=number, name=name, created_by="engineer")
        for number, name in enumerate(("Default", "pumps"))
    ]


def test_each_experiment_leads_to_its_runs(viewer, web, project, experiments):
    Run.objects.create(project=project, experiment=experiments[1], name="newest of pumps", created_by="engineer")
    text = web(viewer).get("/p/demo/experiments").content.decode()
    assert 'href="/p/demo/runs?experiment=1">pumps' in text
    assert text.count("newest of pumps") == 1
    assert "<b>2 experiments</b>" in text


def test_a_part_of_the_name_narrows(viewer, web, experiments):
    rows = web(viewer).get("/p/demo/experiments?name=PUMP").context["rows"]
    assert [row.name for row in rows] == ["pumps"]


def test_nobody_else_sees_them(stranger, auditor, web, experiments):
    assert web(stranger).get("/p/demo/experiments").status_code == 404
    assert web(auditor).get("/p/demo/experiments").status_code == 403
