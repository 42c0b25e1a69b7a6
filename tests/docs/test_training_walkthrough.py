"""docs/training.md, run from top to bottom against a plane of its own, with the stock MLflow client in the script."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from controlplane.env import BASE_DIR
from tests.docs.walkthrough import pattern_of, run, steps_of
from tests.faults.homes import prepare_home
from tests.faults.running import Running, environment_of

MLFLOW_ENV = os.environ.get("MLFLOW_ENV") or BASE_DIR / ".mlflow"
pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="the page asks with curl"),
    pytest.mark.skipif(
        not Path(MLFLOW_ENV, "bin/python").exists(), reason="no environment with MLflow: `make mlflow` makes one"
    ),
    pytest.mark.xdist_group("training walkthrough"),  # the page is run once, by the process that has the group
]

STEPS = steps_of("training.md")
SHOWN = [number for number, (_script, shown) in enumerate(STEPS) if shown]


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> list[str]:
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    more = {"SCRIPT_ENVIRONMENTS": f"mlflow={Path(MLFLOW_ENV).resolve()}", "LEASE_SECONDS": "30"}
    environment = environment_of(home, WEB_WORKERS="1", **more)
    token = prepare_home(environment).token
    running = Running(home, environment, token)
    address = {"DEEPSEEK_URL": running.facts()["address"], "DEEPSEEK_TOKEN": token}
    try:
        return run(STEPS, work, {**environment, **address}, seconds=750)
    finally:
        running.stop()
        running.kill_everything()


def test_page_shows_output_of_every_step():
    assert len(SHOWN) == len(STEPS) >= 5


@pytest.mark.parametrize("number", SHOWN)
def test_step_prints_what_the_page_shows(printed, number):
    assert pattern_of(STEPS[number][1]).search(printed[number]), printed[number]
