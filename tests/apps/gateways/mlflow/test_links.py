"""The pages that the addresses lead to which MLflow's client prints."""

from __future__ import annotations

import pytest

from apps.core.actors import ProjectRole
from apps.ml.experiments.models import Experiment
from apps.platform.accounts.models import Membership


def test_a_run_and_a_logged_model(web, engineer, run, logged):
    model = logged()
    for what, page in ((f"runs/{run.pk}", f"runs/{run.pk}"), (f"models/{model}", f"logged-models/{model}")):
        answer = web(engineer).get(f"/tracked/experiments/3/{what}")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/p/demo/{page}")


def test_an_experiment(web, engineer, run, other_project):
    assert web(engineer).get("/tracked/experiments/3").headers["Location"] == "/p/demo/runs?experiment=3"
    Experiment.objects.create(project=other_project, number=3, name="elsewhere", created_by="t")
    assert web(engineer).get("/tracked/experiments/3").status_code == 302
    Membership.objects.create(project=other_project, user=engineer, role=ProjectRole.VIEWER)
    text = web(engineer).get("/tracked/experiments/3").content.decode()
    for slug in ("demo", other_project.slug):
        assert f'href="/p/{slug}/runs?experiment=3"' in text


@pytest.mark.parametrize("rest", ["", "/runs/{run}", "/models/{model}"])
def test_what_somebody_may_not_see_is_not_there(web, client, stranger, run, logged, rest):
    path = f"/tracked/experiments/3{rest.format(run=run.pk, model=logged())}"
    assert web(stranger).get(path).status_code == 404
    assert client.get(path).headers["Location"] == f"/accounts/login/?next={path}"


def test_the_root_and_the_log_in_have_the_script(web, client, engineer):
    for page in (web(engineer).get("/"), client.get("/accounts/login/")):
        assert "js/mlflow_link" in page.content.decode()
        assert 'data-root="/"' in page.content.decode()
