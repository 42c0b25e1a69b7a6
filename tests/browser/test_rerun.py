"""A run made again by its page: the question, the verdict that comes by itself, and who says so."""

import json
import time
from functools import cache

import pytest
from playwright.sync_api import expect

SUBMIT = """
from pathlib import Path
from tempfile import TemporaryDirectory
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
from apps.platform.artifacts.services import store_file
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
project, actor = Project.objects.get(slug="demo"), build_actor_for_user(User.objects.get(username="engineer"))
with TemporaryDirectory() as folder:
    path = Path(folder) / "table.csv"
    path.write_text("day,price\\n" + "".join(f"{{n}},{{50 + n % 7 / 3}}\\n" for n in range(200)))
    table = store_file(actor=actor, project=project, path=path).digest
spec = {{"task": "forecast", "target": "price", "lags": 5, "hidden": [8], "epochs": 3, "seed": {seed}}}
asked = Submission(kind="train", spec=spec, inputs=[InputSpec(slot="table", digest=table)], name="to run again")
print("job", submit_job(actor=actor, project=project, submission=asked)[0].pk)
"""
STATE = """
import json
from apps.ml.experiments.models import Run
run = Run.objects.filter(job={job}).first()
print(json.dumps([run.pk, run.state] if run else ["", ""]))
"""


@pytest.fixture(scope="module")
def trained(plane, run_code):
    """trained(seed) -> the id of the run of a training that has finished; each seed is trained once."""

    @cache
    def train(seed: int = 0) -> str:
        job = run_code(SUBMIT.format(seed=seed)).split()[1]
        deadline = time.monotonic() + 120
        while True:
            run, state = json.loads(run_code(STATE.format(job=job)))
            if state == "finished":
                return run
            assert state in ("", "running")
            assert time.monotonic() < deadline
            time.sleep(0.2)

    return train


def test_a_run_is_made_again_and_judged(page, watch, sign_in_as, plane, trained):
    run = trained()
    sign_in_as(watch(page, answers=(422,)), "engineer")
    page.goto(f"{plane}/p/demo/runs/{run}")
    page.get_by_role("link", name="Run again from this record").click()
    expect(page.locator("main")).to_contain_text("Nothing is known to differ.")
    page.wait_for_load_state()  # a dialog opens by a script
    page.get_by_role("button", name="Run again from this record").click()
    page.get_by_label("Relative tolerance").fill("much")
    page.get_by_role("button", name="Run again", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("is no number")
    page.get_by_label("Relative tolerance").fill("0")
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_contain_text("Identical.")  # by itself, without a reload
    expect(page.locator(".answer")).to_contain_text("No recorded input differs.")
    page.goto(f"{plane}/p/demo/runs/{run}")
    expect(page.locator("[data-part=reruns]")).to_contain_text("Identical")


def test_two_compared_runs_name_the_changed_seed(signed_in, plane, trained):
    first, other = trained(), trained(seed=5)
    page = signed_in("engineer")
    page.goto(f"{plane}/p/demo/runs/compare?ids={first},{other}&verdict=1")
    card = page.get_by_role("region", name="Verdict")
    expect(card).to_contain_text("Different")
    expect(card).to_contain_text("Of what went in, this differs: seed in the spec.")
