"""The addresses that MLflow's client prints, pasted into a browser: what stands behind # must open."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import sign_in

RECORD = """
import json
from apps.platform.accounts.models import Project
from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.services import create_experiment, create_run
actor, project = build_plane_actor(PlaneRole.OPERATOR), Project.objects.get(slug="demo")
experiment = create_experiment(actor=actor, project=project, name="printed addresses")
run = create_run(actor=actor, experiment=experiment, name="printed run")
print(json.dumps([experiment.number, run.pk]))
"""


@pytest.fixture(scope="module")
def recorded(run_code):
    return json.loads(run_code(RECORD).splitlines()[-1])


def test_a_run_opens_also_in_a_page_that_is_open(signed_in, plane, recorded):
    number, run = recorded
    page = signed_in("engineer")
    page.goto(f"{plane}/#/experiments/{number}/runs/{run}")
    page.wait_for_url(f"{plane}/p/demo/runs/{run}")
    expect(page.locator("h1")).to_contain_text("printed run")
    page.goto(f"{plane}/")
    page.evaluate(f"location.hash = '#/experiments/{number}'")
    page.wait_for_url(f"{plane}/p/demo/runs?experiment={number}")
    expect(page.locator("main")).to_contain_text("printed run")


def test_a_run_opens_after_the_log_in(sign_in_as, watched, plane, passwords, recorded):
    number, run = recorded
    sign_in_as(watched, "engineer")  # so that the first password is replaced
    watched.context.clear_cookies()
    watched.goto(f"{plane}/#/experiments/{number}/runs/{run}")
    watched.wait_for_url(re.compile("/accounts/login/.*next=/tracked/"))
    sign_in(watched, "engineer", passwords["engineer"])
    watched.wait_for_url(f"{plane}/p/demo/runs/{run}")
    expect(watched.locator("h1")).to_contain_text("printed run")
